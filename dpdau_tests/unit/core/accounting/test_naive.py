"""Laws of core/accounting/naive.py."""

from __future__ import annotations

import pytest

from dpdau_assets.core.accounting.naive import NaiveAccountant, event_epsilon
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    PureDpEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.probability.distributions import discrete_gaussian_delta
from dpdau_tests.unit.core.accounting.cases import DELTA, GAUSSIAN_30, LAPLACE_30, default_event

NAIVE = NaiveAccountant()


class TestNaive:
    def test_pure_losses_add_without_delta(self) -> None:
        """30 x discrete Laplace(0.1) is (3.000, 0)."""
        bound = NAIVE.bound(LAPLACE_30, delta=DELTA)
        assert (bound.epsilon, bound.delta) == (pytest.approx(3.0), 0.0)

    @pytest.mark.parametrize(("metric", "epsilon"), [("dau", 11.07), ("wau", 14.69), ("mau", 18.29)])
    def test_month_of_gaussian_releases(self, metric: str, epsilon: float) -> None:
        """31 default releases sum to the published figures, each stated at delta / 31."""
        bound = NAIVE.bound(repeat_event(default_event(metric), 31), delta=DELTA)
        # the published 14.69 is rounded up from 14.682
        assert bound.epsilon == pytest.approx(epsilon, abs=0.01)
        assert bound.delta == DELTA

    def test_shares_delta_among_those_that_need_it(self) -> None:
        """A purely epsilon-DP event in the sum leaves the Gaussian events' shares of delta as they are."""
        alone = NAIVE.bound(GAUSSIAN_30, delta=DELTA)
        together = NAIVE.bound(merge_events(GAUSSIAN_30, repeat_event(PureDpEvent(0.05), 2)), delta=DELTA)
        assert together.epsilon == pytest.approx(alone.epsilon + 0.1)

    def test_nothing_costs_nothing(self) -> None:
        """No events, no loss."""
        assert NAIVE.bound(NO_EVENTS, delta=DELTA).epsilon == 0.0


class TestEventEpsilon:
    def test_uses_the_sensitivity(self) -> None:
        """Twice the sensitivity costs what half the noise costs."""
        assert event_epsilon(DiscreteLaplaceEvent(10.0, 2), delta=DELTA) == pytest.approx(0.2)
        event = DiscreteGaussianEvent(20.0, 2)
        epsilon = event_epsilon(event, delta=DELTA)
        assert discrete_gaussian_delta(epsilon, stddev=20.0, l2_sensitivity=2) <= DELTA
        assert epsilon == pytest.approx(event_epsilon(DiscreteGaussianEvent(10.0), delta=DELTA), rel=1e-2)
