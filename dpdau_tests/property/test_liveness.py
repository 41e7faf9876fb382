"""Liveness does not depend on the order in which entries arrive."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.core.erasure import is_live

D0 = date(2026, 1, 1)
ENTRY = st.tuples(st.sampled_from("+-"), st.integers(0, 12))
LOGS = st.lists(ENTRY, max_size=14)


def live_days(log: list[tuple[str, int]]) -> set[int]:
    """The days of the fortnight on which the user of this log is live."""
    active = [D0 + timedelta(days=day) for op, day in log if op == "+"]
    through = [D0 + timedelta(days=day) for op, day in log if op == "-"]
    return {n for n in range(14) if is_live(D0 + timedelta(days=n), active_days=active, erased_through=through)}


class TestLiveness:
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(LOGS, st.randoms(use_true_random=False))
    def test_order_and_repeats_do_not_matter(self, log: list[tuple[str, int]], random: st.DataObject) -> None:
        """Any order of the entries, with any of them repeated, gives the same live days."""
        shuffled = log + log[: len(log) // 2]
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert live_days(shuffled) == live_days(log)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(LOGS)
    def test_keeping_only_the_latest_erasure_is_enough(self, log: list[tuple[str, int]]) -> None:
        """Live days are the active days after the latest erased day: what one tombstone per user remembers."""
        latest = max((day for op, day in log if op == "-"), default=-1)
        assert live_days(log) == {day for op, day in log if op == "+" and day > latest}

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(LOGS, LOGS, st.integers(0, 12))
    def test_replay_in_parts_equals_replay_at_once(
        self, early: list[tuple[str, int]], late: list[tuple[str, int]], through: int
    ) -> None:
        """Erasing before, between or after two parts of a log leaves the same live days."""
        erasure = [("-", through)]
        results = [live_days(log) for log in (erasure + early + late, early + erasure + late, early + late + erasure)]
        assert results[0] == results[1] == results[2]
        assert all(day > through for day in results[0])
