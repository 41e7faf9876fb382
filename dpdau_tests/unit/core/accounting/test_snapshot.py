"""Laws of core/accounting/snapshot.py."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import pytest

from dpdau_assets.core.accounting import pld
from dpdau_assets.core.accounting.snapshot import (
    RELEASES_LIMIT,
    bounds,
    budget_snapshot,
    fits,
    releases_that_fit,
    smallest_epsilon,
)
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    PureDpEvent,
    merge_events,
    repeat_event,
)
from dpdau_tests.unit.core.accounting.cases import (
    ADVANCED_DELTA,
    DEFAULTS,
    DELTA,
    FULL_MONTH,
    GAUSSIAN_30,
    LAPLACE_30,
    ORDERS,
    SHARED,
    default_event,
)

ORDINARY_MONTH = """
import sys
from dpdau_tests.unit.core.accounting.cases import DEFAULTS, FULL_MONTH, SHARED, default_event
from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import repeat_event
for metric, (_, cap) in DEFAULTS.items():
    assert fits(repeat_event(default_event(metric), 31), cap, **SHARED)
assert fits(FULL_MONTH, 6.0, **SHARED)
print("dp_accounting" in sys.modules)
"""


class TestBounds:
    def test_names_four(self) -> None:
        """Every bound is there under its name, and the smallest is the one that counts."""
        found = bounds(GAUSSIAN_30, **SHARED)
        assert list(found) == ["naive", "advanced", "rdp", "pld"]
        assert smallest_epsilon(GAUSSIAN_30, **SHARED) == min(b.epsilon for b in found.values() if b)

    @pytest.mark.parametrize(("events", "slack"), [(LAPLACE_30, 1e-5), (GAUSSIAN_30, 1e-5), (GAUSSIAN_30, DELTA)])
    def test_leaves_out_what_does_not_hold(self, events: EventCounts, slack: float) -> None:
        """A bound whose delta exceeds DELTA is None and never counts."""
        found = bounds(events, delta=DELTA, advanced_delta=slack, rdp_orders=ORDERS)
        assert found["advanced"] is None
        assert found["naive"] is not None

    def test_naive_counts_when_it_is_the_smallest(self) -> None:
        """The smallest valid bound may be any of them: two wide-apart pure losses add plainly."""
        events = repeat_event(DiscreteLaplaceEvent(0.1), 2)
        assert smallest_epsilon(events, **SHARED) <= 20.0

    def test_nothing_costs_nothing(self) -> None:
        """No events, no loss, in every bound."""
        assert {bound and bound.epsilon for bound in bounds(NO_EVENTS, **SHARED).values()} == {0.0}


class TestFits:
    @pytest.mark.parametrize("cap", [0.5, 0.99, 1.001, 1.1, 1.13, 3.0, 7.0])
    @pytest.mark.parametrize("events", [GAUSSIAN_30, LAPLACE_30])
    def test_is_the_smallest_bound_against_the_cap(self, events: EventCounts, cap: float) -> None:
        """The shortcut through cheap bounds never changes the answer."""
        assert fits(events, cap, **SHARED) == (smallest_epsilon(events, **SHARED) <= cap)

    def test_an_ordinary_month_needs_no_pld(self) -> None:
        """31 default releases of each metric fit every cap without importing dp_accounting."""
        done = subprocess.run(
            [sys.executable, "-c", ORDINARY_MONTH], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.strip() == "False"

    @pytest.mark.parametrize("threshold_runs", [1, 2])
    def test_a_month_with_first_thresholds_fits(self, threshold_runs: int) -> None:
        """31 default releases and an AboveThreshold charge fit each metric's cap, and all together the month's."""
        extra = ((PureDpEvent(0.05), threshold_runs),)
        for metric, (_, cap) in DEFAULTS.items():
            assert fits(merge_events(repeat_event(default_event(metric), 31), extra), cap, **SHARED)
        assert fits(merge_events(FULL_MONTH, extra, extra, extra), 6.0, **SHARED)


class TestReleasesThatFit:
    @pytest.mark.parametrize(
        ("mechanism", "metric", "releases"),
        [
            ("gaussian", "dau", 70),
            ("gaussian", "wau", 41),
            ("gaussian", "mau", 35),
            ("laplace", "dau", 10),
            ("laplace", "wau", 7),
            ("laplace", "mau", 7),
        ],
    )
    def test_published_numbers(self, mechanism: str, metric: str, releases: int) -> None:
        """So many default releases fit the default caps: one more does not."""
        event, cap = default_event(metric, mechanism), DEFAULTS[metric][1]
        assert releases_that_fit(NO_EVENTS, event, cap, **SHARED) == releases
        assert fits(repeat_event(event, releases), cap, **SHARED)
        assert not fits(repeat_event(event, releases + 1), cap, **SHARED)

    def test_counts_down(self) -> None:
        """Each release made leaves one fewer, and after the last none."""
        event = default_event("mau")
        left = [releases_that_fit(repeat_event(event, made), event, 3.5, **SHARED) for made in range(37)]
        assert left == [*range(35, -1, -1), 0]

    @pytest.mark.parametrize("spent", [0.0, 0.05, 1.4, 2.2, 6.0])
    @pytest.mark.parametrize("event", [DiscreteGaussianEvent(5.0), DiscreteLaplaceEvent(2.0), PureDpEvent(0.9)])
    def test_is_exact_for_mixtures(self, spent: float, event: DpEvent) -> None:
        """With other charges before it the answer is still the largest number that fits."""
        before = ((PureDpEvent(spent), 1),) if spent else NO_EVENTS
        counted = 0
        while fits(merge_events(before, repeat_event(event, counted + 1)), 2.2, **SHARED):
            counted += 1
        assert releases_that_fit(before, event, 2.2, **SHARED) == counted

    def test_needs_few_evaluations(self) -> None:
        """The prediction is close enough that a cold answer takes at most four compositions."""
        event = DiscreteGaussianEvent(11.7)
        before = pld.composed_epsilon.cache_info().misses
        assert releases_that_fit(NO_EVENTS, event, 3.1, **SHARED) > 10
        assert pld.composed_epsilon.cache_info().misses - before <= 4

    def test_stops_at_a_limit(self) -> None:
        """Releases that cost next to nothing are counted up to a limit only."""
        assert releases_that_fit(NO_EVENTS, DiscreteGaussianEvent(2000.0), 3.0, **SHARED) == RELEASES_LIMIT


class TestBudgetSnapshot:
    def test_has_the_published_keys(self) -> None:
        """The document holds exactly the published keys, as JSON, in their order."""
        document = json.loads(json.dumps(self.snapshot(events=GAUSSIAN_30).to_json(), allow_nan=False))
        assert list(document) == [
            "metric",
            "period",
            "epsilon_cap",
            "epsilon_spent",
            "epsilon_remaining",
            "budget_remaining",
            "delta",
            "bounds",
            "best_rdp_order",
            "release_count",
            "releases_remaining",
            "next_funded_day",
            "resets",
            "trailing_365d_epsilon",
            "lifetime_epsilon",
        ]
        assert document["period"] == "2025-11"
        assert document["next_funded_day"] == "2025-12-01"
        assert document["bounds"]["naive"] == {"epsilon": pytest.approx(5.832, abs=1e-3), "delta": DELTA}

    def test_takes_the_handoffs_order(self) -> None:
        """Metric, day, cap, delta, orders and advanced delta may be given by position."""
        snapshot = budget_snapshot(
            "dau",
            date(2025, 11, 3),
            3.0,
            DELTA,
            ORDERS,
            ADVANCED_DELTA,
            events=NO_EVENTS,
            trailing_events=NO_EVENTS,
            lifetime_events=NO_EVENTS,
            release_count=0,
            next_event=default_event("dau"),
        )
        assert (snapshot.epsilon_cap, snapshot.delta) == (3.0, DELTA)

    def test_spent_and_remaining_make_the_cap(self) -> None:
        """Without resets the smallest bound and what remains add up to the cap."""
        snapshot = self.snapshot(events=GAUSSIAN_30)
        assert snapshot.epsilon_spent == pytest.approx(1.0, abs=5e-4)
        assert snapshot.epsilon_spent + snapshot.epsilon_remaining == pytest.approx(3.0)
        assert snapshot.budget_remaining == snapshot.epsilon_remaining
        assert snapshot.best_rdp_order == 16.0

    def test_fresh_account(self) -> None:
        """Before the first release everything is left and no order is best."""
        snapshot = self.snapshot(events=NO_EVENTS)
        assert (snapshot.epsilon_spent, snapshot.epsilon_remaining) == (0.0, 3.0)
        assert snapshot.best_rdp_order is None
        assert snapshot.releases_remaining == 70

    def test_exhausted_account_has_no_budget_remaining(self) -> None:
        """When no further release fits, budget_remaining is 0 though some epsilon is left."""
        snapshot = self.snapshot(events=repeat_event(default_event("dau"), 70))
        assert snapshot.releases_remaining == 0
        assert snapshot.budget_remaining == 0.0 < snapshot.epsilon_remaining < 0.03

    def test_reset_shows_the_composed_loss(self) -> None:
        """After a reset the spent loss covers both accounts, and what remains is the new account's."""
        snapshot = self.snapshot(events=GAUSSIAN_30, earlier_events=GAUSSIAN_30, resets=1)
        assert snapshot.resets == 1
        assert snapshot.epsilon_spent > 1.4
        assert snapshot.epsilon_remaining == pytest.approx(2.0, abs=5e-4)

    def test_longer_horizons_cost_more(self) -> None:
        """Trailing and lifetime loss are the RDP bounds of their own events."""
        snapshot = self.snapshot(events=GAUSSIAN_30)
        assert snapshot.bounds["rdp"] is not None
        assert snapshot.bounds["rdp"].epsilon < snapshot.trailing_365d_epsilon < snapshot.lifetime_epsilon

    @staticmethod
    def snapshot(**facts: object) -> object:
        (event, _), *_ = GAUSSIAN_30
        return budget_snapshot(
            "dau",
            date(2025, 11, 3),
            3.0,
            DELTA,
            ORDERS,
            ADVANCED_DELTA,
            trailing_events=repeat_event(event, 90),
            lifetime_events=repeat_event(event, 400),
            release_count=30,
            next_event=default_event("dau"),
            next_funded_day=date(2025, 12, 1),
            **facts,
        )
