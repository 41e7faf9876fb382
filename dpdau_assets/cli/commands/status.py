"""Commands that only look: status, settings, trusted-counts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from dpdau_assets.cli.options import End, Json, Start, open_existing, reached_days
from dpdau_assets.cli.output import EXACT_WARNING, counted, emit, table, warn


def status(as_json: Json = False) -> None:
    """Show where things stand and what to do next.

    Days built and released, pending work with its age, whether the month's budget fits.
    """
    from dpdau_assets.operations.monitor.status import report_status
    from dpdau_assets.settings.settings import dagster_home

    workspace = open_existing()
    document = {**report_status(workspace), **_daemon(dagster_home(workspace.settings), now=workspace.now())}
    emit(document, as_json=as_json, text=lambda: status_text(document))


def _daemon(home: Path, *, now: datetime) -> dict[str, Any]:
    """Whether a Dagster daemon works on this data folder."""
    from dpdau_assets.orchestration.automation.heartbeat import is_daemon_alive, last_heartbeat

    return {"daemon_alive": is_daemon_alive(home, now=now), "daemon_heartbeat": last_heartbeat(home)}


def status_text(document: dict[str, Any]) -> str:
    """The status document, one fact a line, the next action last."""
    folds, erasures = document["pending_folds"], document["pending_erasures"]
    budgets = document["budget"]
    facts = [
        ("last event day", document["last_event_day"] or "-"),
        ("last closed day", document["closed_day"]),
        ("built through", document["built_day"] or "-"),
        (
            "released through",
            ", ".join(f"{name.upper()} {day or '-'}" for name, day in document["released_day"].items()),
        ),
        ("waiting to be folded", f"{_days(folds)}{_age(folds)}"),
        ("pending erasures", f"{erasures['requests']}{_age(erasures)}{' OVERDUE' if erasures['is_overdue'] else ''}"),
        *((f"budget {name.upper()}", _budget(budget)) for name, budget in budgets.items()),
        ("Dagster daemon", "alive" if document["daemon_alive"] else "none at work; `make ui` starts one"),
        ("next", document["next_action"]),
    ]
    return "\n".join(f"{name:<22}{fact}" for name, fact in facts)


def _days(folds: dict[str, Any]) -> str:
    """Closed and open days with staged files, in words."""
    return f"{counted(folds['closed_days'], 'closed day')}, {counted(folds['open_days'], 'open day')}"


def _age(pending: dict[str, Any]) -> str:
    """How long the oldest has waited, when something waits."""
    hours = pending["oldest_hours"]
    return "" if hours is None else f", the oldest for {hours:g} h"


def _budget(budget: dict[str, Any]) -> str:
    """One metric's month in words."""
    verdict = {True: "; the rest of the month fits", False: "; THE REST OF THE MONTH DOES NOT FIT", None: ""}
    return (
        f"{budget['period']}: epsilon {budget['epsilon_spent']:.3f} of {budget['epsilon_cap']:g} spent, "
        f"{budget['releases_remaining']} more releases fit{verdict[budget['month_fits']]}"
    )


def show_settings(as_json: Json = False) -> None:
    """List every setting.

    With its current value, its default and where the value comes from.
    """
    from dpdau_assets.settings.settings import describe_settings

    rows = describe_settings()
    emit(
        rows,
        as_json=as_json,
        text=lambda: table(
            ("name", "value", "default", "from"),
            [(row["name"], row["value"], row["default"], row["source"]) for row in rows],
        ),
    )


def trusted_counts(start: Start, end: End, as_json: Json = False) -> None:
    """Show exact counts: NOT private.

    For checking on the trusted side only: never publish them.
    """
    from dpdau_assets.operations.pipeline.trusted_counts import count_trusted

    workspace = open_existing()
    days = reached_days(workspace, start, end)
    rows = count_trusted(workspace, days.first, days.last)
    warn(EXACT_WARNING)
    emit(
        rows,
        as_json=as_json,
        text=lambda: table(
            ("day", "exact DAU", "exact WAU", "exact MAU"),
            [(str(row["day"]), *(_exact(row[metric]) for metric in ("dau", "wau", "mau"))) for row in rows],
        ),
    )


def _exact(count: int | None) -> str:
    """A count; a dash where retention dropped the days that it would need."""
    return "-" if count is None else f"{count:,}"
