"""Epochs: every window can be counted under one epoch, whatever the rotations."""

from __future__ import annotations

from datetime import date, timedelta
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.core.hashing import EpochCalendar, Segment
from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange

ROTATIONS = st.one_of(st.integers(1, 8), st.sampled_from([29, 30, 31, 90, 365]))
OFFSETS = st.integers(0, 900)
WINDOWS = st.integers(1, 63)


@st.composite
def calendars(draw: st.DrawFn) -> EpochCalendar:
    """A calendar with up to three manual rotations, some in the middle of an epoch."""
    calendar = EpochCalendar.every(draw(ROTATIONS))
    for _ in range(draw(st.integers(0, 3))):
        last = calendar.segments[-1]
        start = last.first_day + timedelta(days=draw(st.integers(1, 200)))
        segment = Segment(calendar.epoch_of(start - timedelta(days=1)) + 1, start, draw(ROTATIONS))
        calendar = EpochCalendar((*calendar.segments, segment))
    return calendar


class TestEpochCalendar:
    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(calendars(), OFFSETS, WINDOWS)
    def test_every_day_of_a_window_is_keyed_under_the_windows_epoch(
        self, calendar: EpochCalendar, offset: int, window_days: int
    ) -> None:
        """A window [s, d] no longer than the longest is countable under the epoch of s, also across 1970-01-01."""
        end = EARLIEST_DAY + timedelta(days=offset)
        for length in {1, min(7, window_days), window_days}:
            first = end - timedelta(days=length - 1)
            epoch = calendar.window_epoch(first)
            for day in DayRange(max(first, EARLIEST_DAY), end):
                assert epoch in calendar.keyed_epochs(day, window_days)

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(calendars(), st.integers(0, 40), WINDOWS)
    def test_keyed_days_and_keyed_epochs_say_the_same(
        self, calendar: EpochCalendar, epoch: int, window_days: int
    ) -> None:
        """A day is among an epoch's keyed days exactly when the epoch is among the day's keyed epochs."""
        keyed = calendar.keyed_days(epoch, window_days)
        around = DayRange(max(keyed.first - timedelta(days=3), EARLIEST_DAY), keyed.first + timedelta(days=2))
        behind = DayRange(keyed.last - timedelta(days=2), keyed.last + timedelta(days=3))
        for days in (around, behind):
            for day in days:
                if day >= EARLIEST_DAY:
                    assert (day in keyed) == (epoch in calendar.keyed_epochs(day, window_days))

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(calendars(), OFFSETS)
    def test_epochs_tile_the_days(self, calendar: EpochCalendar, offset: int) -> None:
        """Numbers go up by 0 or 1 from day to day, and first and last day of an epoch are where it changes."""
        day = EARLIEST_DAY + timedelta(days=offset)
        epoch, following = calendar.epoch_of(day), calendar.epoch_of(day + timedelta(days=1))
        assert following - epoch in (0, 1)
        assert calendar.first_day(epoch) <= day <= calendar.last_day(epoch)
        assert (following != epoch) == (calendar.last_day(epoch) == day)

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(ROTATIONS, OFFSETS, WINDOWS)
    def test_copies_of_a_day_are_bounded(self, rotation: int, offset: int, window_days: int) -> None:
        """Without manual rotations a day is keyed at most 1 + ceil((window - 1) / rotation) times."""
        day: date = EARLIEST_DAY + timedelta(days=offset)
        epochs = EpochCalendar.every(rotation).keyed_epochs(day, window_days)
        assert 1 <= len(epochs) <= 1 + ceil((window_days - 1) / rotation)
