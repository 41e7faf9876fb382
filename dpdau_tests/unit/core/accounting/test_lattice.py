"""Laws of core/accounting/lattice.py."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dpdau_assets.core.accounting.lattice import LatticeAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    PureDpEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.distributions import discrete_gaussian_delta, discrete_gaussian_pmf

DELTA = 1e-6
CLOSE = 1.2e-5
"""Twice the slack that the bound adds, and a little."""


def loss(events: EventCounts, delta: float = DELTA) -> float:
    return LatticeAccountant().bound(events, delta=delta).epsilon


def month(cap: float, releases: int, *, planned: int = 33, searched: bool = False) -> EventCounts:
    search = repeat_event(ABOVE_THRESHOLD_EVENT, 1) if searched else ()
    mechanism = correlated_gaussian(PeriodPlan(planned, cap, DELTA, reserved=search))
    return merge_events(mechanism.shared_noise_charge(), repeat_event(mechanism.event(), releases), search)


class TestLatticeAccountant:
    @pytest.mark.parametrize("stddev", [2.0, 4.0, 13.0, 80.0])
    @pytest.mark.parametrize("delta", [1e-4, 1e-9])
    def test_one_release_costs_its_exact_divergence(self, stddev: float, delta: float) -> None:
        """The divergence at the bound is at most delta, and at a bound smaller by 1.2e-5 it is not."""
        found = loss(repeat_event(DiscreteGaussianEvent(stddev), 1), delta)
        assert discrete_gaussian_delta(found, stddev=stddev) <= delta
        assert discrete_gaussian_delta(found * (1 - CLOSE), stddev=stddev) > delta

    def test_several_cost_what_every_combination_of_draws_says(self) -> None:
        """Two releases of one kind, an opening of another and a search: delta summed over all draws, one by one."""
        search, kinds = PureDpEvent(0.05), [(3.0, 2), (2.5, 1)]
        events = merge_events(
            repeat_event(search, 1), *(repeat_event(DiscreteGaussianEvent(stddev), n) for stddev, n in kinds)
        )
        found = loss(events)
        draws = [discrete_gaussian_pmf(stddev) for stddev, n in kinds for _ in range(n)]
        stddevs = [stddev for stddev, n in kinds for _ in range(n)]
        chance = 1 / (1 + math.exp(-0.05))
        values, probabilities = np.array([0.05, -0.05]), np.array([chance, 1 - chance])
        for (smallest, pmf), stddev in zip(draws, stddevs, strict=True):
            numbers = smallest + np.arange(len(pmf))
            values = np.add.outer(values, (1 - 2 * numbers) / (2 * stddev**2)).ravel()
            probabilities = np.multiply.outer(probabilities, pmf).ravel()
        for epsilon, is_enough in ((found, True), (found * (1 - CLOSE), False)):
            delta = float((probabilities * np.maximum(0.0, -np.expm1(epsilon - values))).sum())
            assert (delta <= DELTA) is is_enough

    @pytest.mark.parametrize(
        ("cap", "releases", "searched"), [*itertools.product((3.0, 3.5), (1, 31, 33), (False, True)), (1.0, 33, False)]
    )
    def test_is_the_librarys_bound_and_never_below_it(self, cap: float, releases: int, searched: bool) -> None:
        """What counts as fitting here fits by dp_accounting too, whose own rounding is below the slack."""
        events = month(cap, releases, searched=searched)
        library = PldAccountant().bound(events, delta=DELTA).epsilon
        assert library <= loss(events) <= library * (1 + CLOSE)

    @pytest.mark.parametrize(
        "event",
        [DiscreteLaplaceEvent(10.0), DiscreteGaussianEvent(1.9), DiscreteGaussianEvent(4.0, l2_sensitivity=2)],
        ids=["laplace", "small", "sensitivity 2"],
    )
    def test_says_nothing_where_it_knows_nothing(self, event: DpEvent) -> None:
        """Other noise, noise too small for the argument, another sensitivity: no bound."""
        assert loss(repeat_event(event, 1)) == math.inf

    def test_says_nothing_where_the_sum_is_long(self) -> None:
        """Three kinds of Gaussian events, two searches, or very wide noise are left to other accountants."""
        kinds = [repeat_event(DiscreteGaussianEvent(stddev), 3) for stddev in (4.0, 5.0, 6.0)]
        assert loss(merge_events(*kinds)) == math.inf
        assert loss(repeat_event(PureDpEvent(0.05), 2)) == math.inf
        assert loss(merge_events(*(repeat_event(DiscreteGaussianEvent(s), 33) for s in (800.0, 340.0)))) == math.inf
        assert loss(()) == 0.0

    def test_no_loss_where_delta_covers_everything(self) -> None:
        """Noise so wide that its total variation is below delta costs nothing."""
        assert loss(repeat_event(DiscreteGaussianEvent(100.0), 1), 0.09) == 0.0

    def test_plans_and_decides_a_default_month_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Planning the noise of a month and every decision about it asks nothing that takes seconds to load."""

        def never(*_: object, **__: object) -> None:
            raise AssertionError("PLD was asked")

        monkeypatch.setattr(PldAccountant, "bound", never)
        correlated_gaussian.cache_clear()
        for cap, searched, planned in itertools.product((3.0, 3.5), (False, True), (30, 33)):
            events = month(cap, planned, planned=planned, searched=searched)
            assert fits(events, cap, delta=DELTA, advanced_delta=1e-7, rdp_orders=(2.0, 4.0))
