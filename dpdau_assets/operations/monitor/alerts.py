"""What an operator should look at now, as the ledger tells it.

Belongs here: which states call for a person, in one line each with the next step. Does not belong here: sending them,
or remembering what was sent. An alert is for the trusted side, yet leaves the machine: it names ages, months, shares in
whole percent and days of the calendar, never a user, a request, a count, or a day on which an erasure found somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.operations.monitor.due_work import DueReleases, due_releases
from dpdau_assets.operations.session.calendar import days_to_release
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.ledger import parse_time, time_text
from dpdau_assets.storage.ledger.schema import batches

RECENT = ONE_DAY
"""How long a source with too many rejected rows is worth an alert."""
PATIENCE = ONE_DAY
"""How long after its close a day may stay unreleased: the nightly schedule has come by."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to look at (trusted side).

    Attributes:
        key: The same for as long as it lasts.
        text: One line: what is wrong.
        hint: One line: the command, and the section of the runbook.
    """

    key: str
    text: str
    hint: str


def find_alerts(workspace: Workspace) -> list[Alert]:
    """The alerts of this moment; none where all is well. Reads the ledger only.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: The ledger cannot be read.
    """
    settings, now = workspace.settings, workspace.now()
    with workspace.ledger.read() as connection:
        alerts = [
            *_overdue_erasure(connection, now, limit_hours=settings.erasure_max_age_hours),
            *_rejected_rows(connection, now, limit=settings.quarantine_max_rate),
        ]
    days = days_to_release(settings, now - PATIENCE)
    return alerts + (_missing_releases(due_releases(workspace, days)) if days else [])


def _overdue_erasure(connection: Connection, now: datetime, *, limit_hours: int) -> list[Alert]:
    """The oldest pending request, when it has waited too long; what holds up one holds up those after it."""
    oldest = min(erasures.pending(connection), key=lambda request: request.requested_at, default=None)
    if oldest is None:
        return []
    hours = (now - parse_time(oldest.requested_at)) / timedelta(hours=1)
    if hours <= limit_hours:
        return []
    return [
        Alert(
            "erasure_overdue",
            f"an erasure request has been pending for {hours:.0f} hours, longer than ERASURE_MAX_AGE_HOURS "
            f"({limit_hours})",
            "dpdau flush-deletes; runbook: An erasure is stuck",
        )
    ]


def _rejected_rows(connection: Connection, now: datetime, *, limit: float) -> list[Alert]:
    """The source of the last day with the largest share of rejected rows, when that is too large."""
    columns = batches.c
    query = select(columns.events, columns.accepted).where(columns.received_at >= time_text(now - RECENT))
    shares = [(row.events - row.accepted) / row.events for row in connection.execute(query) if row.events]
    worst = max(shares, default=0.0)
    if worst <= limit:
        return []
    return [
        Alert(
            "rejected_rows",
            f"about {worst:.0%} of the rows of a source received within the last day were rejected, more than "
            f"QUARANTINE_MAX_RATE ({limit:.2%})",
            "see the newest report in DATA_DIR/reports/quarantine; runbook: A source with many bad rows",
        )
    ]


def _missing_releases(due: DueReleases) -> list[Alert]:
    """Days that could be released and are not, and months without budget for theirs."""
    unfunded = [
        Alert(
            f"budget_exhausted {metric} {month}",
            f"no budget is left for the {metric} of {month} that is not released",
            f"dpdau budget {metric} --month {month}; runbook: The budget is exhausted",
        )
        for metric, month in (name.split() for name in due.unfunded)
    ]
    if not due.days:
        return unfunded
    days = DayRange(due.days[0], due.days[-1])
    late = Alert(
        "releases_late",
        f"not everything of {days} is released, although the last of these days closed more than a day ago",
        "dpdau status; runbook: The schedule was missed",
    )
    return [late, *unfunded]
