"""Laws of core/accounting/pld.py."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.accounting.naive import NaiveAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.rdp import RdpAccountant
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    EventCounts,
    PureDpEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.probability.distributions import discrete_gaussian_epsilon, discrete_gaussian_pmf
from dpdau_tests.unit.core.accounting.cases import (
    DEFAULTS,
    DELTA,
    FULL_MONTH,
    GAUSSIAN_30,
    LAPLACE_30,
    LIBRARY_ORDERS,
    default_event,
)

PLD = PldAccountant()


def exact_epsilon(stddev: float, releases: int) -> float:
    """Composed loss of equal discrete Gaussian releases without any rounding grid, by a second method.

    The loss of n releases depends on the sum S of their noises alone: L = (n - 2 S) / (2 sigma^2). So delta(epsilon) is
    a sum over the law of S, which is the n-fold convolution of the pmf.
    """
    smallest, noise = discrete_gaussian_pmf(stddev)
    width = len(noise) * releases
    law = np.clip(np.fft.irfft(np.fft.rfft(noise, width) ** releases, width), 0, None)
    sums = smallest * releases + np.arange(width)
    losses = (releases - 2 * sums) / (2 * stddev**2)

    def delta_at(epsilon: float) -> float:
        return float(np.dot(law, np.maximum(0, -np.expm1(np.minimum(0, epsilon - losses)))))

    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_at(middle) <= DELTA else (middle, high)
    return high


class TestCheckTable:
    @pytest.mark.parametrize(("events", "epsilon"), [(LAPLACE_30, 2.346), (GAUSSIAN_30, 1.000), (FULL_MONTH, 4.82)])
    def test_published_figures(self, events: EventCounts, epsilon: float) -> None:
        """The two families of the check table, and a month of all three metrics, compose as documented."""
        places = 2 if epsilon == 4.82 else 3
        assert round(PLD.bound(events, delta=DELTA).epsilon, places) == epsilon

    @pytest.mark.parametrize(("days", "epsilon"), [(365, 21.23), (12 * 31, 21.50)])
    def test_a_year_of_independent_noise(self, days: int, epsilon: float) -> None:
        """All three metrics on each of 365 days lose 21.23; twelve months of 31 days would be 21.50."""
        year = merge_events(*(repeat_event(default_event(metric), days) for metric in DEFAULTS))
        assert PLD.bound(year, delta=DELTA).epsilon == pytest.approx(epsilon, abs=5e-3)

    @pytest.mark.parametrize(("metric", "epsilon"), [("dau", 1.904), ("wau", 2.558), ("mau", 3.224)])
    def test_month_of_defaults(self, metric: str, epsilon: float) -> None:
        """31 default releases of one metric compose to the published loss."""
        assert PLD.bound(repeat_event(default_event(metric), 31), delta=DELTA).epsilon == pytest.approx(
            epsilon, abs=5e-4
        )


class TestTightness:
    @pytest.mark.parametrize(("stddev", "releases"), [(12.99, 31), (8.06, 35), (23.14, 30), (1.5, 4)])
    def test_lies_just_above_the_exact_value(self, stddev: float, releases: int) -> None:
        """The bound is never below the loss computed without a grid, and at most 3e-4 above it."""
        found = PLD.bound(repeat_event(DiscreteGaussianEvent(stddev), releases), delta=DELTA).epsilon
        exact = exact_epsilon(stddev, releases)
        assert exact - 1e-6 <= found <= exact + 3e-4

    @pytest.mark.parametrize("metric", ["dau", "wau", "mau"])
    def test_single_release_is_its_own_calibration(self, metric: str) -> None:
        """One release costs the exact hockey-stick epsilon, up to the grid."""
        event = default_event(metric)
        assert isinstance(event, DiscreteGaussianEvent)
        exact = discrete_gaussian_epsilon(DELTA, stddev=event.stddev)
        assert exact - 1e-9 <= PLD.bound(((event, 1),), delta=DELTA).epsilon <= exact + 2e-4

    @pytest.mark.parametrize("events", [LAPLACE_30, GAUSSIAN_30, FULL_MONTH])
    def test_is_the_smallest_bound(self, events: EventCounts) -> None:
        """PLD is below RDP at the library's orders, which is below basic composition."""
        pld, rdp, naive = (
            accountant.bound(events, delta=DELTA).epsilon
            for accountant in (PLD, RdpAccountant(LIBRARY_ORDERS), NaiveAccountant())
        )
        assert pld < rdp < naive


class TestMixtures:
    def test_a_pure_event_adds_at_most_its_epsilon(self) -> None:
        """Adding an AboveThreshold charge costs more than nothing and at most 0.05."""
        alone = PLD.bound(GAUSSIAN_30, delta=DELTA).epsilon
        together = PLD.bound(merge_events(GAUSSIAN_30, ((PureDpEvent(0.05), 1),)), delta=DELTA).epsilon
        assert alone < together <= alone + 0.05

    def test_nothing_costs_nothing(self) -> None:
        """No events, no loss."""
        assert PLD.bound(NO_EVENTS, delta=DELTA).epsilon == 0.0
