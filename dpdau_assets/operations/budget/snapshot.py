"""What a metric's budget of a month looks like now, and released values as documents with that budget beside them.

Belongs here: gathering what `core.accounting.snapshot` states. Does not belong here: any decision (`caps`).
Everything here is public; it takes seconds at first, because the tightest bound is loaded then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.core.accounting.rdp import TRAILING_DAYS
from dpdau_assets.core.accounting.snapshot import BudgetSnapshot, budget_snapshot, smallest_epsilon
from dpdau_assets.core.dp_events import EventCounts, merge_events, repeat_event
from dpdau_assets.core.quantities import DayRange, days_of_period, period_of
from dpdau_assets.core.release.release import ReleaseResult, body
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_assets.storage.ledger import releases
from dpdau_assets.storage.ledger.shared_noise_charges import shared_noise_charges_between


def report_budget(workspace: Workspace, metric: str, period: str | date) -> BudgetSnapshot:
    """The state of the budget of a metric and month.

    Args:
        workspace: The open data folder.
        metric: `dau`, `wau` or `mau`; in a month released jointly the state is that of `joint`.
        period: Calendar month `YYYY-MM`, or any day of it; the trailing 365 days end on that day, for a month on its
            last.

    Raises:
        UsageError: `period` is not a month.
        DataError: A stored charge cannot be read, so that no loss can be stated.
    """
    day = days_of_period(period).last if isinstance(period, str) else period
    return snapshot(BudgetBook(workspace.ledger, workspace.settings), workspace, metric, day)


def spent_after(workspace: Workspace, metric: str, period: str, *, releases: int, is_searched: bool = False) -> float:
    """What would be spent of a month's budget after some more releases of a metric, accounts before a reset included.

    The search for a first sampling threshold counts where these are the first releases of the metric.

    Args:
        workspace: The open data folder.
        metric: `dau`, `wau` or `mau`; in a month released jointly, of which a release makes all three.
        period: Calendar month `YYYY-MM`.
        releases: How many more, at least 0.
        is_searched: Whether earlier releases that are planned as well have found the sampling threshold.
    """
    book = BudgetBook(workspace.ledger, workspace.settings, searched=[metric] if is_searched else [])
    terms = book.terms(metric, period)
    with workspace.ledger.read() as connection:
        spent = merge_events(
            *(budget.events_of_account(connection, one) for one in budget.accounts_of(connection, terms.name, period))
        )
    planned = repeat_event(terms.mechanism.event(), releases)
    more = merge_events(terms.shared_noise_charge, book.search_charge(terms.name), planned) if releases else ()
    return smallest_epsilon(
        merge_events(spent, more),
        delta=terms.cap_delta,
        **workspace.settings.accounting,
    )


def release_bodies(workspace: Workspace, results: Iterable[ReleaseResult]) -> list[dict[str, Any]]:
    """Released values as documents, in the order given; each month's budget is computed once."""
    book = BudgetBook(workspace.ledger, workspace.settings)
    budgets: dict[tuple[str, str], BudgetSnapshot] = {}
    bodies = []
    for result in results:
        key = (result.metric, period_of(result.day))
        if key not in budgets:
            budgets[key] = snapshot(book, workspace, result.metric, days_of_period(key[1]).last)
        bodies.append(body(result, budget=budgets[key]))
    return bodies


def snapshot(book: BudgetBook, workspace: Workspace, metric: str, day: date) -> BudgetSnapshot:
    """The state of the budget of `metric` in the month of `day`.

    What remains counts every cap: the metric's own, the month's over all metrics, the trailing 365 days'.

    Args:
        book: What has been charged.
        workspace: The open data folder.
        metric: The metric.
        day: A day of the month; the trailing 365 days end on it.
    """
    settings, period = workspace.settings, period_of(day)
    days, terms = days_of_period(period), book.terms(metric, period)
    with workspace.ledger.read() as connection:
        accounts = budget.accounts_of(connection, terms.name, period)
        earlier = merge_events(*_events_of(connection, accounts, without=terms.account))
        window = DayRange(day - timedelta(days=TRAILING_DAYS - 1), day)
        daily = budget.daily_events(connection, window.first, window.last)
        trailing = merge_events(
            *daily.values(), *shared_noise_charges_between(connection, window.first, window.last).values()
        )
        lifetime = budget.lifetime_events(connection)
        made = releases.releases_between(connection, days.first, days.last, metric=metric, all_revisions=True)
        resets = len(budget.resets_of(connection, terms.name, period))
    stated = budget_snapshot(
        terms.name,
        day,
        terms.cap,
        terms.cap_delta,
        settings.rdp_orders,
        settings.advanced_delta,
        events=terms.events,
        earlier_events=earlier,
        trailing_events=trailing,
        lifetime_events=lifetime,
        release_count=len(made),
        resets=resets,
        next_event=terms.mechanism.event(),
        shared_noise_charge=terms.shared_noise_charge,
        next_funded_day=book.next_funded_day(metric, max(days.first, settings.series_start or days.first)),
    )
    more = book.releases_under_totals(metric, day, at_most=stated.releases_remaining)
    return replace(stated, releases_remaining=more, budget_remaining=stated.budget_remaining if more else 0.0)


def _events_of(
    connection: Connection, accounts: Iterable[budget.Account], *, without: budget.Account | None
) -> list[EventCounts]:
    return [budget.events_of_account(connection, account) for account in accounts if account != without]
