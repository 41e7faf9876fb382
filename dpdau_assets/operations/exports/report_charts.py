"""Line charts with 95 % bands as inline SVG, for the report page.

Only drawing belongs here: points in, SVG text out. Everything drawn is already published; nothing is read
from the ledger, and no colour is fixed (the page's style sheet names them, light and dark).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 960.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 120.0, 16.0, 30.0
MOST_DATE_LABELS = 9
DOTS_UP_TO_DAYS = 62
LABELLED_SHADE_PIXELS = 92.0


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
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, users: float) -> float:
        """Vertical position of a number of users, in drawing units."""
        share = (users - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


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
    parts = [
        f'<svg class="chart {name}" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" data-metric="{name}" '
        f'data-left="{frame.x(first):.1f}" data-right="{frame.x(last):.1f}" data-low="{frame.low:g}" '
        f'data-high="{frame.high:g}"><title>{escape(title)}</title>',
        _hatching(name),
        *_grid(frame),
        *_date_axis(frame),
        *_window_shade(points, frame),
        *_gaps(points, frame, name),
        *(_run(run, frame) for run in _runs(points)),
        *_dots(points, frame),
        _last_value(points[-1], frame),
        f'<line class="guide" y1="{TOP:g}" y2="{HEIGHT - BOTTOM:g}"/><circle class="spot" r="4.5"/></svg>',
    ]
    return "\n".join(part for part in parts if part)


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


def _hatching(name: str) -> str:
    return (
        f'<defs><pattern id="gap-{name}" width="7" height="7" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="7"/></pattern></defs>'
    )


def _grid(frame: Frame) -> Iterator[str]:
    step = _nice_step((frame.high - frame.low) / 5)
    count = round((frame.high - frame.low) / step)
    for number in range(count + 1):
        users = frame.low + number * step
        y = frame.y(users)
        if users > frame.high * 1.0001:
            break
        style = "axis" if number == 0 else "grid"
        yield f'<line class="{style}" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 10:g}" y="{y + 4:.1f}" text-anchor="end">{short_number(users)}</text>'


def whole_or_tenths(users: float) -> str:
    """A number of users with thousands separated by commas, and one decimal where it is not whole."""
    return f"{users:,.0f}" if float(users).is_integer() else f"{users:,.1f}"


def short_number(users: float) -> str:
    """A number of users for an axis: 950, 12,500, 1.25M."""
    if users >= 1_000_000:
        return f"{users / 1_000_000:.3g}M"
    return f"{users:,.0f}"


def _date_axis(frame: Frame) -> Iterator[str]:
    for day, label in date_labels(frame.first, frame.last):
        x = frame.x(day)
        yield f'<line class="notch" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM:g}" y2="{HEIGHT - BOTTOM + 5:g}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8:g}" text-anchor="middle">{label}</text>'


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


def _run(run: Sequence[ChartPoint], frame: Frame) -> str:
    if len(run) == 1:
        point = run[0]
        x, low, high = frame.x(point.day), frame.y(point.lower), frame.y(point.upper)
        caps = "".join(f"M{x - 4:.1f} {y:.1f}H{x + 4:.1f}" for y in (low, high))
        return f'<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}{caps}"/>' + _dot(point, frame)
    upper = [f"{frame.x(point.day):.1f} {frame.y(point.upper):.1f}" for point in run]
    lower = [f"{frame.x(point.day):.1f} {frame.y(point.lower):.1f}" for point in reversed(run)]
    line = [f"{frame.x(point.day):.1f} {frame.y(point.estimate):.1f}" for point in run]
    return f'<path class="band" d="M{"L".join(upper + lower)}Z"/><path class="line" d="M{"L".join(line)}"/>'


def _dots(points: Sequence[ChartPoint], frame: Frame) -> Iterator[str]:
    everything = (frame.last - frame.first).days < DOTS_UP_TO_DAYS
    for point in points:
        if point.is_lower_bound:
            x, y = frame.x(point.day), frame.y(point.estimate)
            yield f'<path class="at-least" d="M{x - 5:.1f} {y + 3:.1f}L{x:.1f} {y - 6:.1f}L{x + 5:.1f} {y + 3:.1f}Z"/>'
        elif everything:
            yield _dot(point, frame)


def _dot(point: ChartPoint, frame: Frame) -> str:
    return f'<circle class="dot" cx="{frame.x(point.day):.1f}" cy="{frame.y(point.estimate):.1f}" r="2.2"/>'


def _gaps(points: Sequence[ChartPoint], frame: Frame, name: str) -> Iterator[str]:
    known = [frame.first - timedelta(days=1), *(point.day for point in points), frame.last + timedelta(days=1)]
    for before, after in pairwise(known):
        missing = (after - before).days - 1
        if missing < 1:
            continue
        left, right = frame.x(before, 0.5), frame.x(after, -0.5)
        label = f"{missing} day{'s' if missing > 1 else ''} not released"
        yield (
            f'<rect class="gap" fill="url(#gap-{name})" x="{left:.1f}" y="{TOP:g}" '
            f'width="{max(right - left, 1.5):.1f}" height="{HEIGHT - TOP - BOTTOM:g}"><title>{label}</title></rect>'
        )


def _window_shade(points: Sequence[ChartPoint], frame: Frame) -> Iterator[str]:
    filling = [point.day for point in points if not point.is_window_complete]
    if not filling or filling[0] == frame.last:
        return
    left, right = frame.x(filling[0]), frame.x(filling[-1], 0.5)
    yield (
        f'<rect class="filling" x="{left:.1f}" y="{TOP:g}" width="{right - left:.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM:g}"><title>the window begins before the series</title></rect>'
    )
    if right - left >= LABELLED_SHADE_PIXELS:
        yield f'<text class="note" x="{left + 8:.1f}" y="{TOP + 15:g}">window filling</text>'


def _last_value(point: ChartPoint, frame: Frame) -> str:
    x, y = frame.x(point.day), frame.y(point.estimate)
    prefix = "≥ " if point.is_lower_bound else ""
    return (
        f'<circle class="last" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        f'<text class="last-label" x="{x + 10:.1f}" y="{y + 4.5:.1f}">{prefix}{whole_or_tenths(point.estimate)}</text>'
    )
