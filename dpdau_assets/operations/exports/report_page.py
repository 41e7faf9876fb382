"""The report page's HTML, from values that are already published.

Only wording and layout belong here; what is on the page is collected in `write_report.py`, the charts are drawn in
`report_charts.py`, style and script are in `report_style.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from itertools import pairwise

from dpdau_assets.operations.exports.report_charts import ChartPoint, line_chart, whole_or_tenths
from dpdau_assets.operations.exports.report_style import SCRIPT, STYLE

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
    days = [point.day for points in page.series.values() for point in points]
    body = _empty() if not days else "\n".join(_filled(page, min(days), max(days)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>Active users</title><style>{STYLE}</style></head>\n<body><main>\n{body}\n"
        f"<footer>Made by dpdau {escape(page.version)} from published values only. Opening this page loads nothing and "
        "sends nothing.</footer></main></body></html>\n"
    )


def _empty() -> str:
    return (
        "<header><h1>Active users</h1></header><section class='card text'><h2>Nothing is released yet</h2>"
        "<p class='lead'><code>dpdau release --start DAY --end DAY</code> releases closed days; then write this page "
        "again.</p></section>"
    )


def _filled(page: Page, first: date, last: date) -> Iterator[str]:
    span = f"{first}" if first == last else f"{first} to {last}"
    yield (
        f'<header><h1>Active users</h1><p class="lead">{span} · days in {escape(page.timezone)} · '
        f"{'differentially private' if page.is_private else 'not private'}</p></header>"
    )
    if not page.is_private:
        yield (
            '<p class="warning"><b>Not private.</b> These values were drawn with repeatable noise in a synthetic '
            "data folder. They show how the page looks and protect nobody.</p>"
        )
    yield '<section class="cards">' + "\n".join(_card(page, metric) for metric in page.series) + "</section>"
    for metric, points in page.series.items():
        if points:
            yield _plot(page, metric, first, last)
    yield _legend(page)
    yield _guarantee(page)
    yield _months(page)
    yield _table(page)
    yield f'<script type="application/json" id="series">{_series_json(page, first, last)}</script>'
    yield f"<script>{SCRIPT}</script>"


def _card(page: Page, metric: str) -> str:
    points = page.series[metric]
    if points:
        last = points[-1]
        at_least = "≥ " if last.is_lower_bound else ""
        figure = f"{at_least}{whole_or_tenths(last.estimate)}"
        upper = "more" if last.is_lower_bound else f"{last.upper:,.0f}"
        interval = f"95 % between {last.lower:,.0f} and {upper} · {last.day:%b} {last.day.day}"
    else:
        figure, interval = "–", "not released"
    month = page.months[-1]
    spent = month.metrics[metric]
    share = 100.0 * min(spent.left / spent.cap, 1.0)
    return (
        f'<div class="card {metric}"><div class="name">{NAMES[metric]}</div><div class="figure">{figure}</div>'
        f'<div class="interval">{interval}</div>'
        f'<div class="meter" role="img" aria-label="{share:.0f} percent of the budget is left">'
        f'<i style="width:{share:.1f}%"></i></div><div class="budget"><span>Budget left in {month.period}</span>'
        f"<span><b>ε {spent.left:.2f}</b> of {spent.cap:.2f}</span></div></div>"
    )


def _plot(page: Page, metric: str, first: date, last: date) -> str:
    window = page.window_days[metric]
    unit = "on the day" if window == 1 else f"in the {window} days up to the day"
    chart = line_chart(
        page.series[metric],
        first=first,
        last=last,
        title=f"{NAMES[metric]} from {first} to {last} with 95 % intervals",
        name=metric,
    )
    return (
        f'<section class="card plot {metric}"><div class="plot-head"><div><h2>{NAMES[metric]}</h2>'
        f'<p>Distinct users active {unit}</p></div><div class="readout" id="readout-{metric}">'
        f"{_band(page.series[metric][-1])}</div></div>"
        f'<div class="scroll">{chart}</div></section>'
    )


def _band(point: ChartPoint) -> str:
    if point.is_lower_bound:
        return "the last value is a lower bound"
    return f"95 % band: ± {(point.upper - point.lower) / 2:,.0f} users"


def _legend(page: Page) -> str:
    points = [point for series in page.series.values() for point in series]
    entries = ['<span><i class="key-line"></i>estimate</span>', '<span><i class="key-band"></i>95 % interval</span>']
    if any((after.day - before.day).days > 1 for series in page.series.values() for before, after in pairwise(series)):
        entries.append('<span><i class="key-gap"></i>not released</span>')
    if any(not point.is_window_complete for point in points):
        entries.append('<span><i class="key-filling"></i>window begins before the series</span>')
    if any(point.is_lower_bound for point in points):
        entries.append('<span><i class="key-least"></i>at least this many</span>')
    return f'<div class="legend">{"".join(entries)}</div>'


def _guarantee(page: Page) -> str:
    month = page.months[-1]
    delta = f"{page.delta:g}".replace("e-0", "e-")
    days = (
        "The days of a month share a part of their noise: compare two of them and it cancels, but from one month to "
        "the next the level may jump a little."
        if page.shares_noise
        else "Every day was drawn on its own."
    )
    meaning = ""
    if page.true_positive_rate is not None and page.is_private:
        meaning = (
            f" In practice: an attacker who knows everybody else's activity, reads every value of {month.period} and "
            f"accepts 1 % false alarms recognises that a given person is in the data about "
            f"{100 * page.true_positive_rate:.0f} % of the time; by guessing it would be 1 %."
        )
    return (
        '<section class="card text"><h2>What these numbers promise</h2><div class="columns">'
        "<div><h3>Who is protected</h3><p>Every user id, with all its activity over all time and its erasure requests. "
        "Whether one person is in the data or not hardly changes what could have been published here. Someone with "
        "several ids is protected less.</p></div>"
        f"<div><h3>How much</h3><p>All values of {month.period} together cost <b>ε {month.total.epsilon:.2f}</b> of "
        f"at most <b>{month.total.cap:.2f}</b>, at <span class='whole'>δ {delta}</span>. When a budget is used "
        f"up nothing more is released for that month.{meaning}</p></div>"
        "<div><h3>How to read the band</h3><p>Noise was added to every count before it left the system; "
        "the true count lies in the band 95 times out of 100. A wiggle smaller than the band is noise. "
        f"{days}</p></div>"
        "<div><h3>What is not promised</h3><p>Losses add up over the months. A published value is final: erasing "
        "somebody changes later windows, never a number already here. Whether a person's habits are like everybody "
        "else's can be learned from any statistic.</p></div></div></section>"
    )


def _months(page: Page) -> str:
    metrics = list(page.series)
    head = "".join(f"<th>{metric.upper()}</th>" for metric in metrics)
    rows = []
    for month in reversed(page.months):
        cells = "".join(_spent_cell(month.metrics[metric]) for metric in metrics)
        rows.append(f"<tr><td>{month.period}</td>{cells}{_spent_cell(month.total)}</tr>")
    return (
        '<section class="card text"><h2>Budget by month</h2><div class="scroll"><table><thead><tr><th>Month</th>'
        f"{head}<th>All together</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _spent_cell(spent: Spent) -> str:
    if not spent.releases:
        return f'<td class="none">0 of {spent.cap:.2f}</td>'
    return f"<td>ε {spent.epsilon:.2f} of {spent.cap:.2f}<small>{spent.releases} releases</small></td>"


def _table(page: Page) -> str:
    by_metric = {metric: {point.day: point for point in points} for metric, points in page.series.items()}
    head = "".join(f"<th>{metric.upper()}</th><th>95 %</th><th>error</th>" for metric in by_metric)
    rows = []
    for day in sorted({day for points in by_metric.values() for day in points}, reverse=True):
        cells = "".join(_value_cells(points.get(day)) for points in by_metric.values())
        rows.append(f"<tr><td>{day}</td>{cells}</tr>")
    return (
        "<details><summary>All values</summary><p>Error is one standard deviation, in users: from the noise that "
        "protects people and, where not everybody was counted, from sampling. The 95 % interval covers both.</p>"
        '<div class="scroll"><table><thead><tr><th>Day</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _value_cells(point: ChartPoint | None) -> str:
    if point is None:
        return '<td class="none">–</td>' * 3
    sampling = f" · sampling {point.sampling:,.1f}" if point.sampling else ""
    error = f"<td>noise {point.noise:,.1f}{sampling}</td>"
    if point.is_lower_bound:
        return f"<td>≥ {whole_or_tenths(point.estimate)}</td><td>{point.lower:,.0f} or more</td>{error}"
    return f"<td>{whole_or_tenths(point.estimate)}</td><td>{point.lower:,.0f} – {point.upper:,.0f}</td>{error}"


def _series_json(page: Page, first: date, last: date) -> str:
    metrics = {
        metric: {
            point.day.isoformat(): [point.estimate, point.lower, point.upper, int(point.is_lower_bound)]
            for point in points
        }
        for metric, points in page.series.items()
    }
    document = {"first": first.isoformat(), "last": last.isoformat(), "metrics": metrics}
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
