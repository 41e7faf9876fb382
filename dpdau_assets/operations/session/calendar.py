"""Which days are closed, which belong to the series, and which are to be released by now.

Belongs here: every answer that follows from TIMEZONE, the close, SERIES_START, SERIES_END and a time. Does not belong
here: calendar arithmetic without settings (`core.quantities`), and anything that looks at data. Everything is public.
"""

from __future__ import annotations

from datetime import date, datetime

from dpdau_assets.core import quantities
from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.errors import NotClosedError, OutsideSeriesError
from dpdau_assets.settings.settings import Settings


def last_closed_day(settings: Settings, now: datetime) -> date:
    """The newest day that may be built and released.

    Args:
        settings: TIMEZONE and DAY_CLOSE_DELAY_HOURS.
        now: Aware time.
    """
    return quantities.last_closed_day(now, zone=settings.zone, delay_hours=settings.day_close_delay_hours)


def close_time(settings: Settings, day: date) -> datetime:
    """The instant, aware and UTC, from which `day` is closed."""
    return quantities.close_time(day, zone=settings.zone, delay_hours=settings.day_close_delay_hours)


def until_series_end(settings: Settings, day: date) -> date:
    """`day`, or SERIES_END when that is earlier."""
    return min(day, settings.series_end or day)


def days_of_series(settings: Settings, days: DayRange, *, unset_start: date | None = None) -> DayRange | None:
    """The part of `days` that belongs to the series, None when there is none.

    Args:
        settings: SERIES_START and SERIES_END.
        days: Any days.
        unset_start: What stands for SERIES_START while that is not set; by default no day belongs to the series then.
    """
    start = settings.series_start or unset_start
    if start is None:
        return None
    first, last = max(start, days.first), until_series_end(settings, days.last)
    return DayRange(first, last) if first <= last else None


def look_back(settings: Settings, now: datetime) -> DayRange:
    """The newest closed days, as many as automation looks back to, whether or not they belong to the series."""
    last = last_closed_day(settings, now)
    return DayRange(last - (settings.LOOK_BACK_DAYS - 1) * ONE_DAY, last)


def days_to_release(settings: Settings, now: datetime) -> DayRange | None:
    """The days whose releases are due at `now`, made or not: those of `look_back` that belong to the series.

    The schedule releases them, the status names what of them is missing, and an alert tells it a day later.
    """
    return days_of_series(settings, look_back(settings, now))


def require_in_series(settings: Settings, days: DayRange) -> None:
    """Raises OutsideSeriesError unless SERIES_START is set and every one of `days` belongs to the series."""
    start, end = settings.series_start, settings.series_end
    if start is None:
        raise OutsideSeriesError(
            "no release is possible: SERIES_START is not set",
            day=days.first,
            hint="set SERIES_START to the first day to publish (public, and final once published)",
        )
    if days.first < start:
        raise OutsideSeriesError(
            f"{days.first} lies before the first day of the series, {start}",
            day=days.first,
            hint=f"ask for {start} or later",
        )
    if end is not None and days.last > end:
        raise OutsideSeriesError(
            f"{days.last} lies after the last day of the series, {end}", day=days.last, hint=f"ask for {end} or earlier"
        )


def require_closed(settings: Settings, day: date, now: datetime) -> None:
    """Raises NotClosedError unless `day` is closed at `now`."""
    closed = last_closed_day(settings, now)
    if day > closed:
        raise NotClosedError(
            f"{day} is not closed yet: it closes at {close_time(settings, day):%Y-%m-%d %H:%M} UTC",
            day=day,
            hint=f"the last closed day is {closed}",
        )
