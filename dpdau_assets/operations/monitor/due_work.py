"""What is still to be done and what has been done, as the ledger tells it; nothing here changes anything.

Belongs here: the questions automation asks before it starts work. Does not belong here: doing it, or deciding when.
Everything returned names days, metrics and positions in the ledger, never a user and never which days an erasure
touches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, select

from dpdau_assets.core.quantities import METRICS, DayRange, Metric, period_of
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.operations.budget.snapshot import release_bodies, report_budget
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import batches, erasures, partitions, releases
from dpdau_assets.storage.ledger.ledger import parse_time
from dpdau_assets.storage.ledger.schema import partitions as partition_rows
from dpdau_assets.storage.ledger.schema import releases as release_rows


@dataclass(frozen=True, slots=True)
class PendingErasures:
    """Erasure requests that are not complete.

    Attributes:
        newest_request: Highest position among them.
        days: All days held that an erasure through their last day may concern, whoever was active; None when
            none is held.
    """

    newest_request: int
    days: DayRange | None


@dataclass(frozen=True, slots=True)
class OldestErasure:
    """The pending erasure that has waited longest; what holds up one holds up those after it.

    Attributes:
        hours: How long it has waited.
        limit_hours: ERASURE_MAX_AGE_HOURS.
    """

    hours: float
    limit_hours: int

    @property
    def is_overdue(self) -> bool:
        """Whether it has waited longer than allowed."""
        return self.hours > self.limit_hours


@dataclass(frozen=True, slots=True)
class StagedDays:
    """Days whose staged files are not folded.

    Attributes:
        newest_batch: Highest position among all batches.
        days: The days in order.
    """

    newest_batch: int
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class NewestNumbers:
    """The highest position of a partition's change and of a release, 0 when there is none."""

    version: int
    charge: int


@dataclass(frozen=True, slots=True)
class ChangedPartition:
    """One partition, with the position and the time of the last change of its row."""

    asset: str
    day: date
    version: int
    built_at: datetime


@dataclass(frozen=True, slots=True)
class MadeRelease:
    """One release (public whole): the position of its charge, its time and its body."""

    charge: int
    released_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UnfundedMonth:
    """A month without budget for what is not released of a metric (public)."""

    metric: Metric
    period: str

    def __str__(self) -> str:
        return f"{self.metric} {self.period}"


@dataclass(frozen=True, slots=True)
class DueReleases:
    """Releases that the calendar and the budget allow and that are not made (public).

    Attributes:
        days: The days with at least one of them, in order.
        metrics: The metrics concerned.
        unfunded: The months without budget for what is missing.
    """

    days: tuple[date, ...]
    metrics: tuple[Metric, ...]
    unfunded: tuple[UnfundedMonth, ...]


def pending_erasures(workspace: Workspace) -> PendingErasures | None:
    """The erasures still to be applied, None when there are none."""
    with workspace.ledger.read() as connection:
        waiting = erasures.pending(connection)
        if not waiting:
            return None
        held = sorted({*partitions.days_with(connection, "raw_events"), *batches.staged_days(connection)})
    through = max(request.through_day for request in waiting)
    concerned = [day for day in held if day <= through]
    days = DayRange(concerned[0], concerned[-1]) if concerned else None
    return PendingErasures(max(request.seq for request in waiting), days)


def oldest_erasure(connection: Connection, settings: Settings, now: datetime) -> OldestErasure | None:
    """The pending erasure that has waited longest at the time `now`; None when none is pending."""
    since = min((request.requested_at for request in erasures.pending(connection)), default=None)
    if since is None:
        return None
    waited = max(timedelta(0), now - parse_time(since))
    return OldestErasure(waited / timedelta(hours=1), settings.erasure_max_age_hours)


def staged_days(workspace: Workspace) -> StagedDays | None:
    """The days still to be folded, open ones included; None when there are none."""
    with workspace.ledger.read() as connection:
        days = batches.staged_days(connection)
        return StagedDays(batches.last_seq(connection), tuple(days)) if days else None


def newest_numbers(workspace: Workspace) -> NewestNumbers:
    """How far partitions and releases are numbered."""
    with workspace.ledger.read() as connection:
        charge = connection.scalar(select(func.max(release_rows.c.charge)))
        return NewestNumbers(partitions.last_version(connection), int(charge or 0))


def changed_partitions(workspace: Workspace, *, above: int, upto: int, limit: int) -> list[ChangedPartition]:
    """Partitions whose last change lies in (above, upto], newest change first, at most `limit`."""
    columns = partition_rows.c
    query = (
        select(columns.asset, columns.day, columns.version, columns.built_at)
        .where(columns.version > above, columns.version <= upto)
        .order_by(columns.version.desc())
        .limit(limit)
    )
    with workspace.ledger.read() as connection:
        return [
            ChangedPartition(row.asset, row.day, row.version, parse_time(row.built_at))
            for row in connection.execute(query)
        ]


def releases_made(workspace: Workspace, *, above: int, upto: int, limit: int) -> list[MadeRelease]:
    """Releases whose charge lies in (above, upto], newest first, at most `limit`."""
    columns = release_rows.c
    query = (
        select(columns.charge, columns.released_at, columns.result)
        .where(columns.charge > above, columns.charge <= upto)
        .order_by(columns.charge.desc())
        .limit(limit)
    )
    with workspace.ledger.read() as connection:
        rows = connection.execute(query).all()
    bodies = release_bodies(workspace, [ReleaseResult.from_json(row.result) for row in rows])
    return [MadeRelease(row.charge, parse_time(row.released_at), body) for row, body in zip(rows, bodies, strict=True)]


def missing_releases(workspace: Workspace, days: DayRange) -> list[tuple[Metric, date]]:
    """The metrics and days of `days` that are not released, metric by metric."""
    with workspace.ledger.read() as connection:
        made = {(one.metric, one.day) for one in releases.releases_between(connection, days.first, days.last)}
    return [(metric, day) for metric in METRICS for day in days if (metric, day) not in made]


def due_releases(workspace: Workspace, days: DayRange) -> DueReleases:
    """What of `days` can still be released: calendar and budget only, whatever is built, staged or pending.

    Args:
        workspace: The open data folder.
        days: Closed days of the series (public).
    """
    missing = missing_releases(workspace, days)
    due: dict[Metric, list[date]] = {}
    unfunded: list[UnfundedMonth] = []
    for metric in METRICS:
        of_metric = [day for each, day in missing if each == metric]
        for period, group in groupby(of_metric, key=period_of):
            wanted = list(group)
            funded = report_budget(workspace, metric, period).releases_remaining
            due.setdefault(metric, []).extend(wanted[:funded])
            if funded < len(wanted):
                unfunded.append(UnfundedMonth(metric, period))
    all_days = sorted({day for chosen in due.values() for day in chosen})
    return DueReleases(tuple(all_days), tuple(metric for metric, chosen in due.items() if chosen), tuple(unfunded))
