"""What an operator should look at now, as the ledger tells it.

Belongs here: which states call for a person, in one line each with the next step. Does not belong here: sending them,
or remembering what was sent. An alert is for the trusted side, yet leaves the machine: it names ages, months, shares in
whole percent and days of the calendar, never a user, a request, a count, or a day on which an erasure found somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.operations.monitor.due_work import (
    DueReleases,
    OldestErasure,
    UnfundedMonth,
    due_releases,
    oldest_erasure,
)
from dpdau_assets.operations.monitor.quality import RejectedRows, rejected_rows
from dpdau_assets.operations.session.calendar import days_to_release
from dpdau_assets.operations.session.workspace import Workspace

PATIENCE = ONE_DAY
"""How long after its close a day may stay unreleased: the nightly schedule has come by."""


class AlertKind(StrEnum):
    """What an alert is about."""

    ERASURE_OVERDUE = "erasure_overdue"
    REJECTED_ROWS = "rejected_rows"
    RELEASES_LATE = "releases_late"
    BUDGET_EXHAUSTED = "budget_exhausted"
    FOLDER_UNREADABLE = "folder_unreadable"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to look at (trusted side).

    Attributes:
        kind: What it is about.
        text: One line: what is wrong.
        hint: One line: the command, and the section of the runbook.
        month: The metric and month concerned, of BUDGET_EXHAUSTED only.
    """

    kind: AlertKind
    text: str
    hint: str
    month: UnfundedMonth | None = None

    @property
    def key(self) -> str:
        """The same for as long as the state lasts; of BUDGET_EXHAUSTED, for each metric and month."""
        return f"{self.kind} {self.month}" if self.month else self.kind.value


def find_alerts(workspace: Workspace) -> list[Alert]:
    """The alerts of this moment; none where all is well. Reads the ledger only.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: The ledger cannot be read.
    """
    settings, now = workspace.settings, workspace.now()
    with workspace.ledger.read() as connection:
        oldest = oldest_erasure(connection, settings, now)
    alerts = [*_overdue_erasure(oldest), *_rejected_rows(rejected_rows(workspace))]
    days = days_to_release(settings, now - PATIENCE)
    return alerts + (_missing_releases(due_releases(workspace, days)) if days else [])


def _overdue_erasure(oldest: OldestErasure | None) -> list[Alert]:
    """The oldest pending request, when it has waited too long."""
    if oldest is None or not oldest.is_overdue:
        return []
    return [
        Alert(
            AlertKind.ERASURE_OVERDUE,
            f"an erasure request has been pending for {oldest.hours:.0f} hours, longer than ERASURE_MAX_AGE_HOURS "
            f"({oldest.limit_hours})",
            "dpdau flush-deletes; runbook: An erasure is stuck",
        )
    ]


def _rejected_rows(rejected: RejectedRows) -> list[Alert]:
    """The source of the last day with the largest share of rejected rows, when that is too large."""
    if not rejected.is_too_many:
        return []
    return [
        Alert(
            AlertKind.REJECTED_ROWS,
            f"about {rejected.worst_share:.0%} of the rows of a source received within the last day were rejected, "
            f"more than QUARANTINE_MAX_RATE ({rejected.limit:.2%})",
            "see the newest report in DATA_DIR/reports/quarantine; runbook: A source with many bad rows",
        )
    ]


def _missing_releases(due: DueReleases) -> list[Alert]:
    """Days that could be released and are not, and months without budget for theirs."""
    unfunded = [
        Alert(
            AlertKind.BUDGET_EXHAUSTED,
            f"no budget is left for the {month.metric} of {month.period} that is not released",
            f"dpdau budget {month.metric} --month {month.period}; runbook: The budget is exhausted",
            month,
        )
        for month in due.unfunded
    ]
    if not due.days:
        return unfunded
    days = DayRange(due.days[0], due.days[-1])
    late = Alert(
        AlertKind.RELEASES_LATE,
        f"not everything of {days} is released, although the last of these days closed more than a day ago",
        "dpdau status; runbook: The schedule was missed",
    )
    return [late, *unfunded]
