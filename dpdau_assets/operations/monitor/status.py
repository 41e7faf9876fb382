"""Where a data folder stands: days reached, work pending with its age, the month's budget, what to do next.

Belongs here: reading the ledger and choosing the next step. Nothing is changed, and nobody waits for the lake lock. The
answer is for the trusted side, yet names no user, no count of users and no day on which an erasure found somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select

from dpdau_assets.core.quantities import METRICS, DayRange, days_of_period, period_of
from dpdau_assets.operations.budget.lost_releases import unaccounted
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.monitor.due_work import OldestErasure, due_releases, oldest_erasure
from dpdau_assets.operations.session.calendar import days_of_series, days_to_release, last_closed_day
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import MAU_UNIONS, RAW_EVENTS
from dpdau_assets.storage.ledger import batches, erasures, partitions, releases
from dpdau_assets.storage.ledger.ledger import parse_time
from dpdau_assets.storage.ledger.schema import batches as batch_rows
from dpdau_assets.storage.ledger.schema import staged_files

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class _State:
    """What the ledger says at one moment."""

    now: datetime
    closed: date
    last_event_day: date | None
    built_day: date | None
    released: Mapping[str, set[date]]
    staged_days: list[date]
    staged_since: str | None
    batches: list[str]
    erasures: int
    oldest_erasure: OldestErasure | None
    unaccounted: tuple[DayRange, ...]


def report_status(workspace: Workspace) -> dict[str, Any]:
    """The status as one JSON document; days and times are ISO text.

    Args:
        workspace: The open data folder.

    Returns:
        last_event_day, closed_day, built_day, released_day (by metric), pending_folds (closed and open days, hours
        since the oldest was received, batches that can still be discarded), pending_erasures (requests, hours since the
        oldest, whether that is longer than ERASURE_MAX_AGE_HOURS), budget (by metric, with whether the month fits), and
        next_action.

    Raises:
        StorageError: The ledger cannot be read.
    """
    state = _read(workspace)
    oldest = state.oldest_erasure
    document: dict[str, Any] = {
        "last_event_day": _text(state.last_event_day),
        "closed_day": _text(state.closed),
        "built_day": _text(state.built_day),
        "released_day": {metric: _text(max(days, default=None)) for metric, days in state.released.items()},
        "pending_folds": {
            "closed_days": sum(day <= state.closed for day in state.staged_days),
            "open_days": sum(day > state.closed for day in state.staged_days),
            "oldest_hours": _hours_since(state.staged_since, state.now),
            "batches_not_folded": state.batches,
        },
        "pending_erasures": {
            "requests": state.erasures,
            "oldest_hours": None if oldest is None else round(oldest.hours, 1),
            "is_overdue": oldest is not None and oldest.is_overdue,
        },
        "budget": _budget(workspace, state),
    }
    return document | {"next_action": _next_action(workspace, state)}


def _read(workspace: Workspace) -> _State:
    settings, now = workspace.settings, workspace.now()
    with workspace.ledger.read() as connection:
        held = [key[1] for key, row in partitions.load(connection, [RAW_EVENTS]).items() if row.files]
        staged = batches.staged_days(connection)
        waiting = _staged_batches(connection)
        return _State(
            now=now,
            closed=last_closed_day(settings, now),
            last_event_day=max([*held, *staged], default=None),
            built_day=max(partitions.days_with(connection, MAU_UNIONS), default=None),
            released={metric: releases.released_days(connection, metric) for metric in METRICS},
            staged_days=staged,
            staged_since=min((received for _, received, _ in waiting), default=None),
            batches=[name for name, _, is_folded in waiting if not is_folded],
            erasures=len(erasures.pending(connection)),
            oldest_erasure=oldest_erasure(connection, settings, now),
            unaccounted=unaccounted(connection),
        )


def _staged_batches(connection: Connection) -> list[tuple[str, str, bool]]:
    """Name, time and whether a part is folded of every batch with staged files, oldest first."""
    columns = batch_rows.c
    with_files = select(staged_files.c.batch_seq).distinct()
    query = select(columns.batch, columns.received_at, columns.is_folded).where(columns.seq.in_(with_files))
    return [(row.batch, row.received_at, row.is_folded) for row in connection.execute(query.order_by(columns.seq))]


def _budget(workspace: Workspace, state: _State) -> dict[str, Any]:
    """The budget of the month of the last closed day, and whether its remaining days fit."""
    month = days_of_period(period_of(state.closed))
    series = days_of_series(workspace.settings, month)
    report: dict[str, Any] = {}
    for metric in METRICS:
        stated = report_budget(workspace, metric, period_of(state.closed))
        missing = sum(day not in state.released[metric] for day in series or ())
        fits = stated.releases_remaining
        report[metric] = {
            "period": stated.period,
            "epsilon_spent": round(stated.epsilon_spent, 4),
            "epsilon_cap": stated.epsilon_cap,
            "releases_remaining": fits,
            "month_fits": None if series is None else fits >= missing,
        }
    return report


def _next_action(workspace: Workspace, state: _State) -> str:
    """One line: the most urgent thing an operator can do."""
    if state.last_event_day is None:
        return "dpdau ingest --from FILE"
    if state.erasures:
        return "dpdau flush-deletes"
    if state.unaccounted:
        first, last = state.unaccounted[0].first, state.unaccounted[-1].last
        return f"dpdau restore --assume-released {first}..{last} --reason TEXT, for the days of them released then"
    if workspace.settings.series_start is None:
        return "set SERIES_START in .env to the first day to release"
    recent = days_to_release(workspace.settings, state.now)
    if recent is None:
        end = workspace.settings.series_end
        is_over = end is not None and end < state.closed
        return f"nothing: the series ended on {end}" if is_over else "nothing: no day of the series is closed"
    due = due_releases(workspace, recent)
    if due.days:
        return f"dpdau release --start {due.days[0]} --end {due.days[-1]}"
    if due.unfunded:
        return f"nothing until a day of the next month closes: no budget is left in {', '.join(map(str, due.unfunded))}"
    return f"nothing: every day up to {recent.last} is released"


def _hours_since(moment: str | None, now: datetime) -> float | None:
    return None if moment is None else round(max(0.0, (now - parse_time(moment)).total_seconds()) / SECONDS_PER_HOUR, 1)


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
