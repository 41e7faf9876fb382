"""Line charts with 95 % bands as inline SVG, for the report page.

Belongs here: where each mark lies; the marks themselves are in `templates/chart.html.j2`. Everything drawn is already
published; nothing is read from the ledger, and no colour is fixed (the page's style sheet names them, light and dark).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from dpdau_assets.operations.exports.rendering import render

WIDTH, HEIGHT = 960, 270
LEFT, RIGHT, TOP, BOTTOM = 62, WIDTH - 120, 16, HEIGHT - 30
"""Edges of the plotted area, in drawing units."""
MOST_DATE_LABELS = 9
DOTS_UP_TO_DAYS = 62


@dataclass(frozen=True, slots=True)
class ChartPoint:
    """One published value.

    Attributes:
        day: The released day.
        estimate: Published estimate, in users.
        lower: Lower end of the 95 % interval, in users.
        upper: Upper end of the 95 % interval, in users; the estimate where nothing is known above it.
        is_lower_bound: The sketch was saturated, the value is "at least".
        is_window_complete: The whole window lies inside the series.
        noise: Standard deviation of the error from noise, in users.
        sampling: Standard deviation of the error from sampling, in users; 0 where every user was counted.
    """

    day: date
    estimate: float
    lower: float
    upper: float
    is_lower_bound: bool
    is_window_complete: bool
    noise: float = 0.0
    sampling: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a day and a number of users lie on the drawing."""

    first: date
    last: date
    low: float
    high: float

    def x(self, day: date, shift_days: float = 0.0) -> float:
        """Horizontal position of `day`, in drawing units; a lone day stands in the middle."""
        span = (self.last - self.first).days
        share = ((day - self.first).days + shift_days) / span if span else 0.5 + shift_days / 4
        return LEFT + min(max(share, 0.0), 1.0) * (RIGHT - LEFT)

    def y(self, users: float) -> float:
        """Vertical position of a number of users, in drawing units."""
        share = (users - self.low) / (self.high - self.low)
        return BOTTOM - share * (BOTTOM - TOP)

    def trace(self, points: Iterable[ChartPoint], value: str) -> str:
        """The corners of a line through one attribute of `points`, as the path of a drawing takes them."""
        return "L".join(f"{self.x(point.day):.1f} {self.y(getattr(point, value)):.1f}" for point in points)


def line_chart(points: Sequence[ChartPoint], *, first: date, last: date, title: str, name: str) -> str:
    """An SVG drawing of `points` between two days: line, band, gaps, axis.

    Args:
        points: Published values in calendar order, at least one.
        first: First day of the horizontal axis.
        last: Last day of the horizontal axis.
        title: What the chart shows, for screen readers.
        name: Short identifier, used for the pattern's id and the style class.
    """
    frame = _frame(points, first, last)
    return render(
        "chart.html.j2",
        name=name,
        title=title,
        points=points,
        frame=frame,
        ticks=list(_ticks(frame)),
        dates=date_labels(first, last),
        filling=_filling(points, frame),
        gaps=list(_gaps(points, frame)),
        runs=list(_runs(points)),
        has_dots=(last - first).days < DOTS_UP_TO_DAYS,
        **{"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )


def _frame(points: Sequence[ChartPoint], first: date, last: date) -> Frame:
    lowest, highest = min(point.lower for point in points), max(point.upper for point in points)
    highest = max(highest, 1.0)
    bottom = 0.0 if lowest < 0.7 * highest else lowest - 0.35 * (highest - lowest)
    step = _nice_step((highest - bottom) / 4)
    low = max(math.floor(bottom / step) * step, 0.0)
    return Frame(first, last, low, max(math.ceil(highest * 1.02 / step) * step, low + step))


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-9)))
    factor = next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return max(factor * power, 1.0)


def _ticks(frame: Frame) -> Iterator[tuple[float, str]]:
    """The numbers of users that the vertical axis names."""
    step = _nice_step((frame.high - frame.low) / 5)
    for number in range(round((frame.high - frame.low) / step) + 1):
        users = frame.low + number * step
        if users <= frame.high * 1.0001:
            yield users, short_number(users)


def short_number(users: float) -> str:
    """A number of users for an axis: 950, 12,500, 1.25M."""
    if users >= 1_000_000:
        return f"{users / 1_000_000:.3g}M"
    return f"{users:,.0f}"


def date_labels(first: date, last: date) -> list[tuple[date, str]]:
    """At most nine round days between two days with their labels: days, Mondays, months or years."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for step in (1, 2, 3):
        chosen = days[::-step][::-1]
        if len(chosen) <= MOST_DATE_LABELS:
            return [(day, f"{day:%b} {day.day}") for day in chosen]
    mondays = [day for day in days if day.weekday() == 0]
    for weeks in (1, 2):
        if len(mondays[::weeks]) <= MOST_DATE_LABELS:
            return [(day, f"{day:%b} {day.day}") for day in mondays[::weeks]]
    starts = [day for day in days if day.day == 1]
    for months in (1, 2, 3, 6, 12, 24, 60, 120, 240, 600):
        chosen = [day for day in starts if (day.year * 12 + day.month - 1) % months == 0]
        if len(chosen) <= MOST_DATE_LABELS:
            return [(day, f"{day:%Y}" if months >= 12 or day.month == 1 else f"{day:%b}") for day in chosen]
    return [(first, str(first.year)), (last, str(last.year))]


def _runs(points: Sequence[ChartPoint]) -> Iterator[list[ChartPoint]]:
    run: list[ChartPoint] = []
    for point in points:
        if run and (point.day - run[-1].day).days > 1:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _gaps(points: Sequence[ChartPoint], frame: Frame) -> Iterator[tuple[int, float, float]]:
    """Days without a value, and where they begin and end on the drawing."""
    known = [frame.first - timedelta(days=1), *(point.day for point in points), frame.last + timedelta(days=1)]
    for before, after in pairwise(known):
        missing = (after - before).days - 1
        if missing:
            yield missing, frame.x(before, 0.5), frame.x(after, -0.5)


def _filling(points: Sequence[ChartPoint], frame: Frame) -> tuple[float, float] | None:
    """Where the days lie whose window begins before the series."""
    days = [point.day for point in points if not point.is_window_complete]
    return (frame.x(days[0]), frame.x(days[-1], 0.5)) if days and days[0] != frame.last else None
