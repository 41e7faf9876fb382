"""Days, ranges, periods and the closing of a day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from dpdau_assets.core.quantities import (
    METRICS,
    DayRange,
    close_time,
    contiguous_ranges,
    days_of_period,
    last_closed_day,
    period_of,
    window_days,
)
from dpdau_assets.errors import InternalError, UsageError

ZONES = [
    "UTC",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "America/New_York",
    "America/Sao_Paulo",  # skipped local midnight until 2018
    "America/Havana",  # repeats local midnight
    "America/St_Johns",  # 00:01 went back to 23:01 of the day before until 2011
    "Pacific/Apia",  # skipped the whole of 2011-12-30
    "Australia/Lord_Howe",  # clocks move by half an hour
]


class TestWindowDays:
    def test_lengths(self) -> None:
        """The windows of dau, wau and mau are 1, 7 and MAU_WINDOW_DAYS days long."""
        assert [window_days(metric, 30) for metric in METRICS] == [1, 7, 30]
        assert window_days("mau", 28) == 28

    def test_unknown_metric_is_refused(self) -> None:
        """A name that is no metric is the caller's error."""
        with pytest.raises(UsageError):
            window_days("qau", 30)  # type: ignore[arg-type]


class TestDayRange:
    def test_behaves_like_the_list_of_its_days(self) -> None:
        """Length, order and membership are those of the days from first to last, leap day included."""
        days = DayRange(date(2024, 2, 27), date(2024, 3, 2))
        assert days.days() == [date(2024, 2, 27) + timedelta(days=n) for n in range(5)]
        assert len(days) == 5
        assert date(2024, 2, 29) in days
        assert date(2024, 2, 26) not in days
        assert date(2024, 3, 3) not in days

    def test_can_be_read_backwards(self) -> None:
        """Reversed, the days come from the last to the first."""
        days = DayRange(date(2024, 2, 27), date(2024, 3, 2))
        assert list(reversed(days)) == days.days()[::-1]

    def test_single_day(self) -> None:
        """The range of one day holds that day only."""
        assert DayRange.single(date(2026, 1, 1)).days() == [date(2026, 1, 1)]

    def test_backwards_is_refused(self) -> None:
        """A range that ends before it starts does not exist."""
        with pytest.raises(UsageError):
            DayRange(date(2026, 1, 2), date(2026, 1, 1))

    def test_widened(self) -> None:
        """Widening adds the days asked for on either side and nothing else."""
        widened = DayRange.single(date(2026, 1, 1)).widened(before=29, after=6)
        assert widened == DayRange(date(2025, 12, 3), date(2026, 1, 7))


class TestContiguousRanges:
    def test_holds_exactly_the_days_in_the_fewest_ranges(self) -> None:
        """The ranges are ordered, apart by at least a day, and together hold exactly the days given."""
        days = [date(2026, 1, n) for n in (9, 1, 2, 3, 9, 5, 4, 7)]
        ranges = contiguous_ranges(days)
        assert [str(r) for r in ranges] == [
            "2026-01-01..2026-01-05",
            "2026-01-07..2026-01-07",
            "2026-01-09..2026-01-09",
        ]

    def test_nothing_gives_nothing(self) -> None:
        """No days, no ranges."""
        assert contiguous_ranges([]) == []


class TestPeriods:
    @pytest.mark.parametrize(("period", "days"), [("2024-02", 29), ("2026-02", 28), ("2025-12", 31), ("9998-04", 30)])
    def test_a_period_is_its_calendar_month(self, period: str, days: int) -> None:
        """Every day of a period has that period, the days around it do not."""
        month = days_of_period(period)
        assert len(month) == days
        assert {period_of(day) for day in month} == {period}
        around = month.widened(before=1, after=1)
        assert period not in {period_of(around.first), period_of(around.last)}

    @pytest.mark.parametrize("text", ["2026-13", "2026-1", "202601", "2026-W01", "", "2026-01-01", "２０２６-01"])
    def test_malformed_periods_are_refused(self, text: str) -> None:
        """Only YYYY-MM is a period."""
        with pytest.raises(UsageError):
            days_of_period(text)


class TestCloseTime:
    def test_plain(self) -> None:
        """A day closes at the midnight that ends it, in its zone, plus the delay."""
        close = close_time(date(2026, 1, 31), zone=ZoneInfo("America/New_York"), delay_hours=6)
        assert close == datetime(2026, 2, 1, 11, tzinfo=UTC)
        assert close.tzinfo is UTC

    def test_the_delay_is_elapsed_time(self) -> None:
        """In the night the clocks move, six hours stay six hours."""
        close = close_time(date(2026, 3, 28), zone=ZoneInfo("Europe/Berlin"), delay_hours=6)
        assert close == datetime(2026, 3, 29, 5, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("zone", "day", "closed"),
        [
            ("America/Sao_Paulo", date(2018, 11, 3), datetime(2018, 11, 4, 3, tzinfo=UTC)),  # 00:00 is skipped
            ("America/Sao_Paulo", date(2018, 2, 17), datetime(2018, 2, 18, 3, tzinfo=UTC)),  # 24:00 went to 23:00
            ("America/St_Johns", date(2010, 11, 6), datetime(2010, 11, 7, 3, 30, tzinfo=UTC)),  # the second midnight
            ("Pacific/Apia", date(2011, 12, 29), datetime(2011, 12, 30, 10, tzinfo=UTC)),
            ("Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC)),  # a day that never was
        ],
    )
    def test_midnights_that_are_skipped_or_repeated(self, zone: str, day: date, closed: datetime) -> None:
        """Where the midnight does not exist or comes twice, the day closes when it cannot come back."""
        assert close_time(day, zone=ZoneInfo(zone), delay_hours=0) == closed

    @pytest.mark.parametrize("name", ZONES)
    def test_no_instant_after_the_close_belongs_to_the_day(self, name: str) -> None:
        """Every instant belongs to a day that is not closed yet, through every change of the clocks."""
        zone = ZoneInfo(name)
        instant = datetime(2010, 10, 1, tzinfo=UTC)
        for _ in range(24 * 460):
            day = instant.astimezone(zone).date()
            assert instant < close_time(day, zone=zone, delay_hours=0) <= instant + timedelta(hours=26)
            instant += timedelta(hours=1)


class TestLastClosedDay:
    @pytest.mark.parametrize("name", ZONES)
    @pytest.mark.parametrize("delay_hours", [0, 6, 168])
    def test_is_the_latest_day_whose_close_has_come(self, name: str, delay_hours: int) -> None:
        """The result is closed at that moment and the day after it is not."""
        zone = ZoneInfo(name)
        now = datetime(2010, 10, 1, 0, 0, 0, 1, tzinfo=UTC)
        for _ in range(700):
            day = last_closed_day(now, zone=zone, delay_hours=delay_hours)
            assert close_time(day, zone=zone, delay_hours=delay_hours) <= now
            assert close_time(day + timedelta(days=1), zone=zone, delay_hours=delay_hours) > now
            now += timedelta(hours=16, minutes=59, seconds=59)

    def test_turns_at_the_close_itself(self) -> None:
        """A day is closed at its closing instant and not a microsecond before."""
        zone, day = ZoneInfo("Asia/Tokyo"), date(2026, 5, 5)
        close = close_time(day, zone=zone, delay_hours=6)
        assert last_closed_day(close, zone=zone, delay_hours=6) == day
        assert last_closed_day(close - timedelta(microseconds=1), zone=zone, delay_hours=6) == day - timedelta(days=1)

    def test_a_time_without_zone_is_refused(self) -> None:
        """A naive clock would shift the closing: it is never guessed."""
        with pytest.raises(InternalError):
            last_closed_day(datetime(2026, 1, 1), zone=UTC, delay_hours=0)
