"""Laws of core/accounting/gdp.py."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest

from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    EventCounts,
    PureDpEvent,
    VectorGaussianEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.distributions import discrete_gaussian_delta

DELTA = 1e-6


def correlated_month(releases: int) -> EventCounts:
    mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
    return merge_events(mechanism.shared_noise_charge(), repeat_event(mechanism.event(), releases))


class TestGdpAccountant:
    @pytest.mark.parametrize("releases", [1, 10, 31, 33])
    def test_is_above_the_numerical_bound_and_close(self, releases: int) -> None:
        """For a month of correlated noise it lies between PLD (whose own rounding is 1e-4) and 3.5 % above it; 8 % with
        one release, where the small offset noise dominates."""
        events = correlated_month(releases)
        exact = PldAccountant().bound(events, delta=DELTA).epsilon
        assert (
            exact - 2e-4
            <= GdpAccountant().bound(events, delta=DELTA).epsilon
            <= (1.08 if releases == 1 else 1.035) * exact
        )

    @pytest.mark.parametrize("stddev", [1.3, 2.0, 4.0, 13.0])
    def test_holds_for_one_discrete_event(self, stddev: float) -> None:
        """The exact divergence at the stated epsilon is at most delta, however small the noise."""
        bound = GdpAccountant().bound(repeat_event(DiscreteGaussianEvent(stddev), 1), delta=DELTA)
        assert discrete_gaussian_delta(bound.epsilon, stddev=stddev) <= DELTA

    def test_vectors_compose_by_their_length(self) -> None:
        """Thirty vectors of squared sensitivity 4181 cost what one of thirty times that costs."""
        many = GdpAccountant().bound(repeat_event(VectorGaussianEvent(1600.0, 4181), 30), delta=DELTA).epsilon
        one = GdpAccountant().bound(repeat_event(VectorGaussianEvent(1600.0, 30 * 4181), 1), delta=DELTA).epsilon
        assert many == pytest.approx(one, abs=1e-8)

    @pytest.mark.parametrize("epsilon", [0.05, 0.5, 2.0])
    def test_a_pure_event_is_dominated(self, epsilon: float) -> None:
        """Beside Gaussian events, few or many, and alone, its bound is not below the numerical one."""
        for releases in (0, 1, 33):
            events = merge_events(repeat_event(PureDpEvent(epsilon), 1), correlated_month(releases) if releases else ())
            numerical = PldAccountant().bound(events, delta=DELTA).epsilon
            assert GdpAccountant().bound(events, delta=DELTA).epsilon >= numerical - 1e-4

    @pytest.mark.parametrize("epsilon", [0.05, 2.0])
    def test_a_pure_event_is_dominated_at_every_error(self, epsilon: float) -> None:
        """At no rate of false alarms does randomised response give fewer misses than noise of its mu."""
        normal, mu = NormalDist(), 2 * NormalDist().inv_cdf(1 / (1 + math.exp(-epsilon)))
        for alarm in (number / 1000 for number in range(1, 1000)):
            misses = max(0.0, 1 - math.exp(epsilon) * alarm, math.exp(-epsilon) * (1 - alarm))
            assert misses >= normal.cdf(normal.inv_cdf(1 - alarm) - mu) - 1e-12

    @pytest.mark.parametrize("event", [DiscreteLaplaceEvent(10.0), DiscreteGaussianEvent(1.2)])
    def test_says_nothing_where_it_knows_nothing(self, event: DiscreteLaplaceEvent | DiscreteGaussianEvent) -> None:
        """Other noise, or noise too small to round, gets no bound."""
        assert GdpAccountant().bound(repeat_event(event, 1), delta=DELTA).epsilon == math.inf
        assert GdpAccountant().bound((), delta=DELTA).epsilon == 0.0

    def test_decides_an_ordinary_month_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """31 correlated releases are seen to fit without the numerical accountant being asked; so is a first month of
        all three metrics, with its searches."""

        def never(*_: object, **__: object) -> None:
            raise AssertionError("PLD was asked")

        events, options = correlated_month(31), {"delta": DELTA, "advanced_delta": 1e-7, "rdp_orders": (2.0, 4.0)}
        monkeypatch.setattr(PldAccountant, "bound", never)
        assert fits(events, 3.0, **options)  # type: ignore[arg-type]
        search = repeat_event(ABOVE_THRESHOLD_EVENT, 3)
        mau = correlated_gaussian(PeriodPlan(33, 3.5, DELTA, reserved=repeat_event(ABOVE_THRESHOLD_EVENT, 1)))
        first = merge_events(events, events, mau.shared_noise_charge(), repeat_event(mau.event(), 31), search)
        assert fits(first, 6.0, **options)  # type: ignore[arg-type]
