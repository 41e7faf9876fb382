"""The report page: published/report.html, one self-contained file with charts, intervals and the budget left.

Belongs here: what goes onto the page, all of it already published. How it looks belongs to `report_page.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

from dpdau_assets import __version__
from dpdau_assets.core.accounting.rdp import events_rdp
from dpdau_assets.core.accounting.snapshot import smallest_epsilon
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.quantities import METRICS, period_of, window_days
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.exports.report_charts import ChartPoint
from dpdau_assets.operations.exports.report_page import MonthBudget, Page, Spent, render_page
from dpdau_assets.operations.exports.stored_values import stored_values
from dpdau_assets.operations.session.calendar import last_closed_day, until_series_end
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import make_durable, write_bytes
from dpdau_assets.storage.lake.layout import REPORT
from dpdau_assets.storage.ledger import accounts

MONTHS_SHOWN = 24
FALSE_ALARM_RATE = 0.01
NEAR_ONE = 1.01
"""The Renyi order at which a loss is read as that of one Gaussian release; exact for Gaussian noise at any order."""


def write_report(workspace: Workspace) -> Path:
    """Writes the page whole and returns its path; the same releases on the same day give the same bytes.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: The disk refused; the page written before stays.
    """
    path = workspace.lake.root / REPORT
    write_bytes(path, render_page(_page(workspace)).encode())
    make_durable([path])
    return path


def _page(workspace: Workspace) -> Page:
    settings, results = workspace.settings, stored_values(workspace)
    book = BudgetBook(workspace.ledger, settings)
    # a finished series shows its last month
    last = until_series_end(settings, last_closed_day(settings, workspace.now()))
    this_month = period_of(max([last, *(result.day for result in results)]))
    periods = sorted({this_month, *(period_of(result.day) for result in results)})
    shown = periods[: periods.index(this_month) + 1][-MONTHS_SHOWN:]
    return Page(
        series={metric: [_point(result) for result in results if result.metric == metric] for metric in METRICS},
        window_days={metric: window_days(metric, settings.mau_window_days) for metric in METRICS},
        months=[_month(workspace, book, period, results) for period in shown],
        delta=settings.delta,
        timezone=settings.timezone,
        is_private=all(result.private for result in results),
        shares_noise=any(result.mechanism in ("correlated", "joint") for result in results[-len(METRICS) :]),
        true_positive_rate=true_positive_rate(book.month_events(this_month)),
        version=__version__,
    )


def _point(result: ReleaseResult) -> ChartPoint:
    upper = result.upper_95 if result.upper_95 is not None else max(result.estimate, result.lower_95)
    return ChartPoint(
        result.day,
        result.estimate,
        result.lower_95,
        upper,
        result.is_lower_bound,
        result.window_complete,
        noise=result.noise_stddev,
        sampling=result.sampling_stddev,
    )


def _month(workspace: Workspace, book: BudgetBook, period: str, results: Sequence[ReleaseResult]) -> MonthBudget:
    settings = workspace.settings
    metrics: dict[str, Spent] = {}
    for metric in METRICS:
        terms = book.terms(metric, period)
        with workspace.ledger.read() as connection:
            events = accounts.events_of_metric(connection, terms.name, period)
        left = max(0.0, terms.cap - _epsilon(workspace, terms.events, delta=terms.cap_delta))
        releases = sum(result.metric == metric and period_of(result.day) == period for result in results)
        metrics[metric] = Spent(_epsilon(workspace, events, delta=terms.cap_delta), terms.cap, left, releases)
    total, cap = _epsilon(workspace, book.month_events(period), delta=settings.delta), settings.total_budget_month
    releases = sum(spent.releases for spent in metrics.values())
    return MonthBudget(period, metrics, Spent(total, cap, max(0.0, cap - total), releases))


def _epsilon(workspace: Workspace, events: EventCounts, *, delta: float) -> float:
    if not events:
        return 0.0
    return smallest_epsilon(events, delta=delta, **workspace.settings.accounting)


def true_positive_rate(events: EventCounts) -> float | None:
    """How often an attacker who accepts 1 % false alarms recognises that one person is in the data; None for no events.

    For a Gaussian loss of mu: Phi(Phi^-1(0.01) + mu). Exact up to the lattice for Gaussian noise, the central limit for
    other noise: a sentence for readers, never used against a cap.

    Args:
        events: What was released.

    Reference: Dong, Roth, Su (2022), "Gaussian differential privacy", Equation 6.
    """
    if not events:
        return None
    mu = math.sqrt(2 * float(events_rdp(events, (NEAR_ONE,))[0]) / NEAR_ONE)
    normal = NormalDist()
    return normal.cdf(normal.inv_cdf(FALSE_ALARM_RATE) + mu)
