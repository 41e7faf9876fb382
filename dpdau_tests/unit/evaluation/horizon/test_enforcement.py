"""Laws of evaluation/enforcement.py: whatever arrives, a counted user keeps to the limits."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.core.horizon.factorisation import SquareRootStrategy
from dpdau_assets.core.horizon.flip_sensitivity import certified_sensitivity, series_gram, value_of
from dpdau_assets.evaluation.horizon.enforcement import CountingRules, Entries, counted_series, simulated_entries
from dpdau_assets.evaluation.streams.simulate import SimulatedStream

HORIZON, WINDOW = 24, 5
FIRST = 2 - WINDOW
DAYS = st.integers(FIRST, HORIZON)
EVENTS = st.lists(st.tuples(st.integers(0, 2), DAYS, st.sampled_from([0, 0, 0, 1, 3, 9])), max_size=40)
ERASURES = st.lists(st.tuples(st.integers(0, 2), DAYS, st.sampled_from([0, 0, 2, -4])), max_size=8)


def log(events: list[tuple[int, int, int]], erasures: list[tuple[int, int, int]], users: int = 3) -> Entries:
    """Entries from (user, day, delay)."""
    sides = [np.array(side, dtype=np.int64).reshape(-1, 3).T.copy() for side in (events, erasures)]
    for side in sides:
        side[2] += side[1]
    return Entries(users, *sides)


def one_user(events: list[int], erasures: list[int] = [], **rules: object) -> list[int]:  # noqa: B006
    """The days on which a punctual user is counted."""
    entries = log([(0, day, 0) for day in events], [(0, day, 0) for day in erasures], users=1)
    return (np.flatnonzero(counted_series(entries, CountingRules(HORIZON, WINDOW, **rules))[0]) + 1).tolist()  # type: ignore[arg-type]


class TestRules:
    @settings(max_examples=80, deadline=None)
    @given(events=EVENTS, erasures=ERASURES, short_cuts=st.integers(1, 3))
    def test_every_series_is_allowed(
        self, events: list[tuple[int, int, int]], erasures: list[tuple[int, int, int]], short_cuts: int
    ) -> None:
        """Late events, erasures and returns in any mix: each counted series is one of the patterns."""
        rules = CountingRules(HORIZON, WINDOW, short_cuts)
        for series in counted_series(log(events, erasures), rules):
            assert rules.patterns.allows(series.astype(int).tolist())

    @settings(max_examples=30, deadline=None)
    @given(events=EVENTS, erasures=ERASURES)
    def test_a_user_changes_nobody_else(
        self, events: list[tuple[int, int, int]], erasures: list[tuple[int, int, int]]
    ) -> None:
        """Without the entries of user 0 the series of the others are the same."""
        rules = CountingRules(HORIZON, WINDOW)
        whole = counted_series(log(events, erasures), rules)
        without = log([entry for entry in events if entry[0]], [entry for entry in erasures if entry[0]])
        assert (counted_series(without, rules)[1:] == whole[1:]).all()

    @settings(max_examples=30, deadline=None)
    @given(events=EVENTS, erasures=ERASURES, day=st.integers(1, HORIZON))
    def test_a_released_day_stays(
        self, events: list[tuple[int, int, int]], erasures: list[tuple[int, int, int]], day: int
    ) -> None:
        """What arrives after a day's release changes no count up to that day."""
        rules = CountingRules(HORIZON, WINDOW)
        whole = counted_series(log(events, erasures), rules)
        known = [[entry for entry in side if entry[1] + entry[2] <= day] for side in (events, erasures)]
        assert (counted_series(log(*known), rules)[:, :day] == whole[:, :day]).all()


class TestOneUser:
    def test_a_day_of_activity_counts_for_a_window(self) -> None:
        """Active on day 3, counted on 3 to 7; active before the horizon, counted on what is left of the window."""
        assert one_user([3]) == [3, 4, 5, 6, 7]
        assert one_user([-1]) == [1, 2, 3]

    def test_a_late_event_counts_on_no_day(self) -> None:
        """Arrived a day or two after the release of its own day it is left out; without the rule its run is short."""
        assert not counted_series(log([(0, 3, 1)], [], users=1), CountingRules(HORIZON, WINDOW)).any()
        entries = log([(0, 3, 2)], [], users=1)
        assert not counted_series(entries, CountingRules(HORIZON, WINDOW)).any()
        lenient = CountingRules(HORIZON, WINDOW, has_late_events=True)
        assert (np.flatnonzero(counted_series(entries, lenient)[0]) + 1).tolist() == [5, 6, 7]

    def test_an_erasure_takes_effect_at_once_and_bars_until_the_end(self) -> None:
        """Erased in a run, out from that day, and not counted again although active."""
        assert one_user([3, 9, 15], [5]) == [3, 4]
        assert one_user([3, 9, 15], [5], short_cuts=2) == [3, 4, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19]

    def test_an_erasure_of_a_long_run_bars_nobody(self) -> None:
        """A run as long as a window, or one that reaches back to the first day, is no short cut."""
        assert one_user([3, 4, 12], [8]) == [3, 4, 5, 6, 7, 12, 13, 14, 15, 16]
        assert one_user([0, 9], [3]) == [1, 2, 9, 10, 11, 12, 13]

    def test_an_erasure_covers_the_days_to_come_that_it_names(self) -> None:
        """Asked for ahead, even before the horizon, it takes effect for every event up to its last day."""
        entries = log([(0, 3, 0), (0, 9, 0)], [(0, 5, -12)], users=1)
        counted = counted_series(entries, CountingRules(HORIZON, WINDOW))[0]
        assert (np.flatnonzero(counted) + 1).tolist() == [9, 10, 11, 12, 13]

    def test_who_is_erased_on_the_day_of_coming_in_never_came_in(self) -> None:
        """Event and erasure before the same release: no run, no cut."""
        assert one_user([3, 9], [3]) == [9, 10, 11, 12, 13]


class TestWhatTheRulesAreFor:
    @pytest.mark.parametrize(
        ("left_out", "events", "erasures"),
        [
            ({"has_late_events": True, "short_cuts": None}, [(0, day, 4) for day in range(1, HORIZON - 4, 3)], []),
            ({"short_cuts": None}, [(0, day, 0) for day in range(1, HORIZON, 3)], list(range(3, HORIZON, 3))),
        ],
    )
    def test_without_the_counter_the_bound_is_false(
        self, left_out: dict[str, object], events: list[tuple[int, int, int]], erasures: list[int]
    ) -> None:
        """A user who comes in late, or is erased, again and again moves the answers beyond the certificate when nothing
        stops that, and stays within it under the rules."""
        rules, entries = CountingRules(HORIZON, WINDOW), log(events, [(0, day, 0) for day in erasures], users=1)
        gram = series_gram(SquareRootStrategy(HORIZON).strategy())
        bound = certified_sensitivity(gram, rules.patterns).squared_sensitivity
        moves = [
            value_of(gram, counted_series(entries, chosen)[0].astype(int).tolist())
            for chosen in (rules, CountingRules(HORIZON, WINDOW, **left_out))  # type: ignore[arg-type]
        ]
        assert moves[0] <= bound < moves[1]

    def test_late_events_would_use_up_the_counter(self) -> None:
        """With late events counted the series are still allowed, but a user who was late once is then left out."""
        entries = log([(0, 3, 3), (0, 12, 0)], [], users=1)
        counted = [
            counted_series(entries, CountingRules(HORIZON, WINDOW, has_late_events=has_late))[0]
            for has_late in (False, True)
        ]
        assert [(np.flatnonzero(row) + 1).tolist() for row in counted] == [[12, 13, 14, 15, 16], [6, 7]]


class TestSimulatedEntries:
    def test_keep_to_the_limits_and_need_the_counter(self) -> None:
        """A stream with late events and erasures: all series are allowed, and not without the counter."""
        rules = CountingRules(40, 10)
        stream = SimulatedStream(seed=3, users=400, p_active=0.06, delete_rate=0.2)
        entries = simulated_entries(stream, date(2026, 3, 1), rules, late_share=0.3)
        assert (entries.events[2] > entries.events[1]).mean() == pytest.approx(0.3, abs=0.05)

        def are_allowed(chosen: CountingRules) -> bool:
            return all(rules.patterns.allows(row.astype(int).tolist()) for row in counted_series(entries, chosen))

        assert are_allowed(rules)
        assert not are_allowed(CountingRules(40, 10, short_cuts=None))
        assert counted_series(entries, rules).any(axis=1).mean() > 0.5
