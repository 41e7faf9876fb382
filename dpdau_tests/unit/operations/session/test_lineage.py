"""Lineage: an input digest changes exactly when something the partition is made of changes."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.codec import IMPLEMENTATIONS
from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.operations.session.lineage import (
    by_epoch,
    days_behind_windows,
    sketch_inputs,
    union_inputs,
    union_windows,
)

DAY = date(2026, 3, 12)
CALENDAR = EpochCalendar.every(90)
WINDOWS = union_windows(DAY, mau_window_days=30, calendar=CALENDAR)

EXACT = SketchPlan.of("set", k=16, expected_users=None)


def plan(impl: str, k: int) -> SketchPlan:
    """How sketches are made with SKETCH_K=k, for a thousand users."""
    return SketchPlan.of(impl, k=k, expected_users=1000)


def files(**changes: str) -> dict[date, dict[str, str]]:
    """Files of 30 days under the epochs that began before and on 2026-03-08."""
    days = {DAY - timedelta(days=back): {"227": f"a{back}", "228": f"b{back}"} for back in range(30)}
    for name, digest in changes.items():
        back, epoch = name.removeprefix("back_").split("_")
        days[DAY - timedelta(days=int(back))][epoch] = digest
    return days


class TestUnionInputs:
    def test_windows_of_7_and_n_days_under_the_epoch_of_their_first_day(self) -> None:
        """The windows end on the day and are counted under the epoch they start in."""
        assert [(window.first, window.last, epoch) for window, epoch in WINDOWS] == [
            (date(2026, 3, 6), DAY, 227),
            (date(2026, 2, 11), DAY, 227),
        ]

    def test_a_file_of_the_window_and_epoch_matters(self) -> None:
        """A changed, new or missing file under the windows' epoch changes the digest."""
        before = union_inputs(WINDOWS, by_epoch(files()), plan=EXACT)
        without = files()
        del without[DAY - timedelta(days=12)]
        assert union_inputs(WINDOWS, by_epoch(files(back_29_227="new")), plan=EXACT) != before
        assert union_inputs(WINDOWS, by_epoch(without), plan=EXACT) != before

    def test_a_file_of_another_epoch_does_not_matter(self) -> None:
        """Files under epochs that no window is counted under change nothing."""
        before = union_inputs(WINDOWS, by_epoch(files()), plan=EXACT)
        assert union_inputs(WINDOWS, by_epoch(files(back_3_228="new")), plan=EXACT) == before

    def test_the_size_matters_for_all_but_set(self) -> None:
        """Another SKETCH_K makes other sketches, and leaves `set` as it is; another SKETCH_IMPL changes all."""
        digests = {
            (impl, k): union_inputs(WINDOWS, by_epoch(files()), plan=plan(impl, k))
            for impl in IMPLEMENTATIONS
            for k in (16, 32)
        }
        assert digests["set", 16] == digests["set", 32]
        assert len(set(digests.values())) == 7
        sketches = {(impl, k): sketch_inputs("d", plan=plan(impl, k)) for impl in IMPLEMENTATIONS for k in (16, 32)}
        assert sketches["set", 16] == sketches["set", 32]
        assert len(set(sketches.values())) == 7


class TestDaysBehindWindows:
    @pytest.mark.parametrize(
        ("first", "expected"),
        [
            (date(2026, 3, 12), date(2026, 2, 11)),
            (date(1970, 1, 5), date(1970, 1, 1)),
            (date(1969, 12, 30), date(1970, 1, 1)),
        ],
    )
    def test_reaches_back_one_window_but_not_before_1970(self, first: date, expected: date) -> None:
        """The days of all windows are included, none before 1970-01-01."""
        days = DayRange(first, first + timedelta(days=3))
        assert days_behind_windows(days, 30) == DayRange(expected, days.last)
