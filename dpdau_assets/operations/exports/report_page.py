"""The report page's HTML, from values that are already published.

Belongs here: what the page shows, as objects, and what its template asks of them. What is on the page is collected in
`report.py`, the charts are drawn in `report_charts.py`, wording and layout are in `templates/report.html.j2`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from dpdau_assets.operations.exports.rendering import render
from dpdau_assets.operations.exports.report_charts import ChartPoint, line_chart

NAMES = {"dau": "Daily active users", "wau": "Weekly active users", "mau": "Monthly active users"}


@dataclass(frozen=True, slots=True)
class Spent:
    """Loss under one cap.

    Attributes:
        epsilon: What everything released composes to, accounts before a reset included.
        cap: Cap of the current account.
        left: What the current account has left.
        releases: Number of released days.
    """

    epsilon: float
    cap: float
    left: float
    releases: int


@dataclass(frozen=True, slots=True)
class MonthBudget:
    """What one month has cost.

    Attributes:
        period: Calendar month `YYYY-MM`.
        metrics: By metric, what its releases of the month compose to.
        total: What all releases of the month compose to.
    """

    period: str
    metrics: Mapping[str, Spent]
    total: Spent


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows; public whole.

    Attributes:
        series: By metric, its published values in calendar order.
        window_days: By metric, the length of its window in days.
        months: Budget by month, oldest first; the last one is the month the cards show.
        delta: The delta at which every epsilon on the page is stated.
        timezone: IANA name of the zone that days are taken in.
        is_private: False when any value shown was drawn from seeded noise.
        shares_noise: Whether the days of a month share a part of their noise, in the newest value of any metric.
        true_positive_rate: Chance of recognising one person in the last month at 1 % false alarms, or None.
        version: Version of the software.
    """

    series: Mapping[str, Sequence[ChartPoint]]
    window_days: Mapping[str, int]
    months: Sequence[MonthBudget]
    delta: float
    timezone: str
    is_private: bool
    shares_noise: bool
    true_positive_rate: float | None
    version: str


def render_page(page: Page) -> str:
    """The whole page as one HTML document that loads nothing."""
    by_day = {metric: {point.day: point for point in points} for metric, points in page.series.items()}
    points = [point for series in page.series.values() for point in series]
    days = sorted({point.day for point in points})
    pairs = [pair for series in page.series.values() for pair in pairwise(series)]
    return render(
        "report.html.j2",
        page=page,
        names=NAMES,
        days=days,
        by_day=by_day,
        charts={metric: _chart(page, metric, days) for metric, series in page.series.items() if series},
        has_gaps=any((after.day - before.day).days > 1 for before, after in pairs),
        has_filling_windows=any(not point.is_window_complete for point in points),
        has_lower_bounds=any(point.is_lower_bound for point in points),
        values=_values(by_day, days) if days else None,
    )


def _chart(page: Page, metric: str, days: Sequence[date]) -> str:
    title = f"{NAMES[metric]} from {days[0]} to {days[-1]} with 95 % intervals"
    return line_chart(page.series[metric], first=days[0], last=days[-1], title=title, name=metric)


def _values(by_day: Mapping[str, Mapping[date, ChartPoint]], days: Sequence[date]) -> dict[str, object]:
    """What the script of the page reads, for the value under the pointer."""
    metrics = {
        metric: {
            str(day): [point.estimate, point.lower, point.upper, int(point.is_lower_bound)]
            for day, point in points.items()
        }
        for metric, points in by_day.items()
    }
    return {"first": str(days[0]), "last": str(days[-1]), "metrics": metrics}
