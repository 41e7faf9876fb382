"""Laws of core/accounting/gdp.py."""

from __future__ import annotations

import math

import pytest

from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    EventCounts,
    VectorGaussianEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.distributions import discrete_gaussian_delta
from dpdau_assets.core.mechanisms.planning import PeriodPlan

DELTA = 1e-6


def correlated_month(releases: int) -> EventCounts:
    mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
    return merge_events(mechanism.opening(), repeat_event(mechanism.event(), releases))


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

    @pytest.mark.parametrize("event", [DiscreteLaplaceEvent(10.0), DiscreteGaussianEvent(1.2)])
    def test_says_nothing_where_it_knows_nothing(self, event: DiscreteLaplaceEvent | DiscreteGaussianEvent) -> None:
        """Other noise, or noise too small to round, gets no bound."""
        assert GdpAccountant().bound(repeat_event(event, 1), delta=DELTA).epsilon == math.inf
        assert GdpAccountant().bound((), delta=DELTA).epsilon == 0.0

    def test_decides_an_ordinary_month_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """31 correlated releases are seen to fit without the numerical accountant being asked."""

        def never(*_: object, **__: object) -> None:
            raise AssertionError("PLD was asked")

        events = correlated_month(31)
        monkeypatch.setattr(PldAccountant, "bound", never)
        assert fits(events, 3.0, delta=DELTA, advanced_delta=1e-7, rdp_orders=(2.0, 4.0))
