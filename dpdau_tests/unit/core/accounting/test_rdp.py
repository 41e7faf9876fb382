"""Laws of core/accounting/rdp.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.rdp import rdp_privacy_accountant

from dpdau_assets.core.accounting.rdp import (
    RdpAccountant,
    best_order,
    epsilons_of_rdp,
    event_rdp,
    events_rdp,
)
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    EventCounts,
    PureDpEvent,
    repeat_event,
)
from dpdau_assets.core.probability.distributions import discrete_gaussian_pmf, discrete_laplace_pmf
from dpdau_tests.unit.core.accounting.cases import DELTA, GAUSSIAN_30, LAPLACE_30, LIBRARY_ORDERS, ORDERS


def divergence(noise: np.ndarray, order: float) -> float:
    """Renyi divergence of noise from its shift by one, as the sum of its definition."""
    left, right = noise[:-1], noise[1:]
    kept = (left > 1e-280) & (right > 1e-280)
    terms = order * np.log(left[kept]) + (1 - order) * np.log(right[kept])
    return float(np.logaddexp.reduce(terms) / (order - 1))


class TestClosedForms:
    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("stddev", [1.0, 8.06, 23.14])
    def test_gaussian_bounds_the_divergence(self, order: float, stddev: float) -> None:
        """alpha / (2 sigma^2) is at least the divergence of the pmf, and within 1 % of it."""
        (claimed,) = event_rdp(DiscreteGaussianEvent(stddev), [order])
        exact = divergence(discrete_gaussian_pmf(stddev)[1], order)
        assert exact * (1 - 1e-6) <= claimed
        assert claimed == pytest.approx(exact, rel=0.01, abs=1e-9) or order / stddev > GAUSSIAN_TAIL

    @pytest.mark.parametrize("order", ORDERS)
    @pytest.mark.parametrize("scale", [0.5, 2.0, 10.0])
    def test_laplace_is_the_divergence(self, order: float, scale: float) -> None:
        """For discrete Laplace noise the formula is the divergence of the pmf itself."""
        (claimed,) = event_rdp(DiscreteLaplaceEvent(scale), [order])
        assert claimed == pytest.approx(divergence(discrete_laplace_pmf(scale)[1], order), rel=1e-5)

    def test_anything_pure_is_bounded_like_randomised_response(self) -> None:
        """A purely epsilon-DP event costs as much as discrete Laplace noise of that epsilon, and at most epsilon."""
        pure = event_rdp(PureDpEvent(0.25), ORDERS)
        assert pure == pytest.approx(event_rdp(DiscreteLaplaceEvent(4.0), ORDERS))
        assert pure == pytest.approx(event_rdp(DiscreteLaplaceEvent(8.0, 2), ORDERS))
        assert event_rdp(PureDpEvent(0.25), [1e9])[0] == pytest.approx(0.25)

    def test_never_negative(self) -> None:
        """Rounding does not make a tiny loss a gain."""
        assert (event_rdp(PureDpEvent(1e-12), (1.01, *ORDERS)) >= 0).all()


GAUSSIAN_TAIL = 11.0
"""Above this alpha / sigma the divergence is decided beyond the 12 sigma that the pmf keeps; the bound still holds."""


class TestConversion:
    @pytest.mark.parametrize("orders", [ORDERS, LIBRARY_ORDERS])
    @pytest.mark.parametrize("events", [LAPLACE_30, GAUSSIAN_30, repeat_event(PureDpEvent(1e-8), 3)])
    @pytest.mark.parametrize("delta", [1e-9, 1e-6, 0.05])
    def test_agrees_with_the_library(self, orders: tuple[float, ...], events: EventCounts, delta: float) -> None:
        """Epsilon and best order are those of dp_accounting's conversion."""
        rdp = events_rdp(events, orders)
        expected, order = rdp_privacy_accountant.compute_epsilon(orders, rdp, delta)
        assert RdpAccountant(orders).bound(events, delta=delta).epsilon == pytest.approx(expected, abs=1e-12)
        assert best_order(events, orders, delta=delta) == order

    def test_tiny_divergence_costs_nothing(self) -> None:
        """Where the divergence bounds the total variation by delta, epsilon is 0."""
        assert epsilons_of_rdp(np.array([1e-13]), [2.0], delta=DELTA)[0] == 0.0


class TestCheckTable:
    @pytest.mark.parametrize(
        ("events", "orders", "epsilon"),
        [
            (LAPLACE_30, LIBRARY_ORDERS, 2.444),
            (LAPLACE_30, ORDERS, 2.471),
            (GAUSSIAN_30, LIBRARY_ORDERS, 1.078),
            (GAUSSIAN_30, ORDERS, 1.120),
        ],
    )
    def test_published_figures(self, events: EventCounts, orders: tuple[float, ...], epsilon: float) -> None:
        """The two families compose to the figures of the documentation."""
        bound = RdpAccountant(orders).bound(events, delta=DELTA)
        assert bound.epsilon == pytest.approx(epsilon, abs=5e-4)
        assert bound.delta == DELTA

    def test_the_usual_shortcut_costs_more(self) -> None:
        """rho + 2 sqrt(rho ln(1/delta)) states 1.272 for thirty releases that lose 1.120 at our orders."""
        rho = float(events_rdp(GAUSSIAN_30, (2.0,))[0]) / 2
        assert rho + 2 * math.sqrt(rho * math.log(1 / DELTA)) == pytest.approx(1.272, abs=5e-4)

    def test_nothing_costs_nothing(self) -> None:
        """No events, no loss, though the conversion alone would give ln(1/delta)."""
        assert RdpAccountant().bound(NO_EVENTS, delta=DELTA).epsilon == 0.0
