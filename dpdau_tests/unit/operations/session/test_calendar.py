"""Days that follow from the settings and a time: closed, of the series, due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import NotClosedError, OutsideSeriesError
from dpdau_assets.operations.session import calendar
from dpdau_assets.settings.settings import Settings

NOW = datetime(2026, 5, 11, 8, tzinfo=UTC)
MAY = DayRange(date(2026, 5, 1), date(2026, 5, 31))


def _settings(**given: Any) -> Settings:
    return Settings(**given)


class TestClose:
    @pytest.mark.parametrize("given", [{}, {"timezone": "America/New_York"}, {"day_close_delay_hours": 30}])
    def test_the_last_closed_day_closed_and_the_next_did_not(self, given: dict[str, Any]) -> None:
        """Both answers come from the same zone and the same delay."""
        settings = _settings(**given)
        last = calendar.last_closed_day(settings, NOW)
        assert calendar.close_time(settings, last) <= NOW < calendar.close_time(settings, last + timedelta(days=1))

    def test_a_day_is_required_to_be_closed_to_the_second(self) -> None:
        """At its close a day passes; just before it is refused with the time of its close."""
        settings = _settings()
        close = calendar.close_time(settings, date(2026, 5, 9))
        calendar.require_closed(settings, date(2026, 5, 9), close)
        with pytest.raises(NotClosedError, match=f"it closes at {close:%Y-%m-%d %H:%M} UTC"):
            calendar.require_closed(settings, date(2026, 5, 9), close - timedelta(seconds=1))


class TestSeries:
    @pytest.mark.parametrize(
        ("start", "end", "part"),
        [
            (None, None, None),
            (None, date(2026, 5, 20), None),
            (date(2026, 5, 3), None, (3, 31)),
            (date(2026, 4, 3), date(2026, 5, 20), (1, 20)),
            (date(2026, 6, 1), None, None),
            (date(2026, 4, 1), date(2026, 4, 30), None),
        ],
    )
    def test_the_part_of_a_month_in_the_series(
        self, start: date | None, end: date | None, part: tuple[int, int] | None
    ) -> None:
        """From SERIES_START to SERIES_END, both included; nothing while SERIES_START is not set."""
        expected = None if part is None else DayRange(date(2026, 5, part[0]), date(2026, 5, part[1]))
        assert calendar.days_of_series(_settings(series_start=start, series_end=end), MAY) == expected

    def test_a_stand_in_for_the_start_counts_only_while_that_is_not_set(self) -> None:
        """A plan made before SERIES_START is chosen looks at the month up to SERIES_END."""
        end, start = date(2026, 5, 20), date(2026, 5, 3)
        part = calendar.days_of_series(_settings(series_end=end), MAY, unset_start=MAY.first)
        assert part == DayRange(MAY.first, end)
        part = calendar.days_of_series(_settings(series_start=start), MAY, unset_start=MAY.first)
        assert part == DayRange(start, MAY.last)

    def test_a_day_outside_is_refused(self) -> None:
        """Before the start, after the end, and every day while there is no start."""
        settings = _settings(series_start=date(2026, 5, 1), series_end=date(2026, 5, 30))
        calendar.require_in_series(settings, DayRange(date(2026, 5, 1), date(2026, 5, 30)))
        with pytest.raises(OutsideSeriesError, match="2026-05-31 lies after the last day of the series"):
            calendar.require_in_series(settings, MAY)
        with pytest.raises(OutsideSeriesError, match="2026-04-30 lies before the first day of the series"):
            calendar.require_in_series(settings, DayRange.single(date(2026, 4, 30)))
        with pytest.raises(OutsideSeriesError, match="SERIES_START is not set"):
            calendar.require_in_series(_settings(), MAY)


class TestDue:
    def test_days_are_due_from_their_close_for_as_long_as_the_look_back(self) -> None:
        """The look-back ends with the last closed day, and holds LOOK_BACK_DAYS days."""
        settings = _settings(series_start=date(2020, 1, 1))
        due = calendar.days_to_release(settings, NOW)
        assert due == calendar.look_back(settings, NOW) == DayRange(date(2026, 4, 10), date(2026, 5, 10))

    def test_a_series_that_ended_before_the_look_back_has_nothing_due(self) -> None:
        """The look-back is counted from the clock, not from the end of the series."""
        settings = _settings(series_start=date(2026, 1, 1), series_end=date(2026, 4, 12))
        assert calendar.days_to_release(settings, NOW) == DayRange(date(2026, 4, 10), date(2026, 4, 12))
        assert calendar.days_to_release(settings, NOW + timedelta(days=3)) is None
