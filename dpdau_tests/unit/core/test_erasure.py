"""Liveness and the reach of an erasure."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dpdau_assets.core.erasure import is_live, tombstone_epochs
from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange

DAY = date(2026, 3, 10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


class TestIsLive:
    @pytest.mark.parametrize(
        ("active", "erased", "live"),
        [
            ([DAY], [], True),
            ([BEFORE, AFTER], [], False),
            ([], [], False),
            ([DAY], [DAY], False),
            ([DAY], [AFTER], False),
            ([DAY], [BEFORE], True),
            ([DAY, DAY], [BEFORE, BEFORE], True),
            ([DAY], [AFTER, BEFORE], False),
        ],
    )
    def test_some_activity_and_no_erasure_through_the_day(
        self, active: list[date], erased: list[date], live: bool
    ) -> None:
        """A user is live on a day with activity that no erasure reaches; the erasure's own day is reached."""
        assert is_live(DAY, active_days=active, erased_through=erased) is live

    def test_a_user_who_returns_counts_again(self) -> None:
        """The day after the erasure is not covered by it."""
        assert is_live(AFTER, active_days=[BEFORE, AFTER], erased_through=[DAY])
        assert not is_live(BEFORE, active_days=[BEFORE, AFTER], erased_through=[DAY])


class TestTombstoneEpochs:
    @pytest.mark.parametrize("rotation", [1, 7, 29, 30, 90])
    @pytest.mark.parametrize("floor", [EARLIEST_DAY, date(1970, 2, 1), date(1971, 6, 15)])
    def test_every_key_of_every_erased_day_is_remembered(self, rotation: int, floor: date) -> None:
        """The epochs are exactly those under which the days from the floor through the erasure are keyed."""
        calendar, through = EpochCalendar.every(rotation), date(1971, 8, 1)
        keyed = {epoch for day in DayRange(floor, through) for epoch in calendar.keyed_epochs(day, 30)}
        assert set(tombstone_epochs(calendar, floor=floor, through=through, window_days=30)) == keyed

    def test_an_erasure_before_the_floor_needs_none(self) -> None:
        """Days before the floor are neither held nor accepted."""
        calendar = EpochCalendar.every(90)
        floor = date(2026, 1, 2)
        assert not tombstone_epochs(calendar, floor=floor, through=date(2026, 1, 1), window_days=30)
