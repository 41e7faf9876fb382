"""Days, runs of days, metrics, budget periods and the closing of a day.

Calendar arithmetic that every other room shares belongs here. What a window counts does not (`windows`), nor
how a timestamp becomes a day (`activity`), nor privacy parameters (`mechanisms`). Everything here is public.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, Self

from dpdau_assets.errors import InternalError, UsageError

Metric = Literal["dau", "wau", "mau"]
METRICS: tuple[Metric, ...] = ("dau", "wau", "mau")
EARLIEST_DAY = date(1970, 1, 1)
"""First day on which activity is accepted, and the anchor of the salt epochs."""

ONE_DAY = timedelta(days=1)


def window_days(metric: Metric, mau_window_days: int) -> int:
    """Length of the window of `metric`: 1 for `dau`, 7 for `wau`, `mau_window_days` for `mau`.

    Args:
        metric: One of `METRICS` (public).
        mau_window_days: Days in the MAU window, 1 or more (public).

    Returns:
        Days in the window, both ends included.

    Raises:
        UsageError: `metric` is not one of `METRICS`.
    """
    lengths = {"dau": 1, "wau": 7, "mau": mau_window_days}
    if metric not in lengths:
        raise UsageError("there is no such metric", hint=f"use one of {', '.join(METRICS)}")
    return lengths[metric]


@dataclass(frozen=True, slots=True)
class DayRange:
    """Consecutive days, both ends included; never empty.

    Attributes:
        first: First day.
        last: Last day, not before `first`.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise UsageError(
                f"the range of days ends ({self.last}) before it starts ({self.first})", hint="exchange the two days"
            )

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=offset) for offset in range(len(self)))

    def __reversed__(self) -> Iterator[date]:
        return (self.last - timedelta(days=offset) for offset in range(len(self)))

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and self.first <= day <= self.last

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"

    def days(self) -> list[date]:
        """The days in order."""
        return list(self)

    def widened(self, *, before: int = 0, after: int = 0) -> DayRange:
        """The range with `before` more days in front and `after` more days behind (each 0 or more)."""
        return DayRange(self.first - timedelta(days=before), self.last + timedelta(days=after))

    @classmethod
    def single(cls, day: date) -> Self:
        """The range of one day."""
        return cls(day, day)


def contiguous_ranges(days: Iterable[date]) -> list[DayRange]:
    """The fewest ranges that hold exactly `days`, in order; repeats and disorder in `days` do not matter."""
    ranges: list[DayRange] = []
    for day in sorted(set(days)):
        if ranges and day - ranges[-1].last == ONE_DAY:
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange.single(day))
    return ranges


def period_of(day: date) -> str:
    """The budget period of a released day: its calendar month as `YYYY-MM`."""
    return f"{day.year:04d}-{day.month:02d}"


def days_of_period(period: str) -> DayRange:
    """The days of a calendar month.

    Args:
        period: `YYYY-MM` (public).

    Returns:
        First to last day of that month.

    Raises:
        UsageError: `period` is not a month in that form.
    """
    try:
        first = date.fromisoformat(f"{period}-01")
    except ValueError:
        first = None
    if first is None or period_of(first) != period:
        raise UsageError("a budget period is a month written YYYY-MM", hint="for example 2026-01")
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    return DayRange(first, following - ONE_DAY)


def close_time(day: date, *, zone: tzinfo, delay_hours: int) -> datetime:
    """The instant from which `day` is closed: the midnight that ends it in `zone`, plus the delay.

    Guarantee: no instant at or after the result belongs to `day` in `zone`. Where a clock change repeats or
    skips that midnight, the later of its two readings is taken.

    Args:
        day: Day in `zone` (public).
        zone: TIMEZONE (public).
        delay_hours: Hours to wait for late events, 0 or more (public); elapsed hours, not wall-clock hours.

    Returns:
        Aware UTC time.
    """
    midnight = datetime.combine(day + ONE_DAY, time(), tzinfo=zone)
    readings = (midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return max(readings) + timedelta(hours=delay_hours)


def last_closed_day(now: datetime, *, zone: tzinfo, delay_hours: int) -> date:
    """The latest day that is closed at `now`.

    Guarantee: `close_time(result) <= now < close_time(result + 1 day)`.

    Args:
        now: Aware time (public).
        zone: TIMEZONE (public).
        delay_hours: As in `close_time`.

    Returns:
        Day in `zone`.

    Raises:
        InternalError: `now` carries no time zone.
    """
    if now.tzinfo is None:
        raise InternalError("the clock gave a time without a zone")
    day = now.astimezone(zone).date()
    while close_time(day, zone=zone, delay_hours=delay_hours) > now:
        day -= ONE_DAY
    return day
