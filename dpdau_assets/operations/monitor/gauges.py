"""The numbers that monitoring draws as lines: days reached, releases made, erasures that wait.

Belongs here: reading them from the ledger in a millisecond. Does not belong here: budgets (`kept_snapshots`), verdicts
(`alerts`). For the operator's side; they name no user and count none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.operations.session.calendar import last_closed_day
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import MAU_UNIONS
from dpdau_assets.storage.ledger import erasures, partitions, releases
from dpdau_assets.storage.ledger.ledger import parse_time


@dataclass(frozen=True, slots=True)
class Gauges:
    """Where a data folder stands.

    Attributes:
        today: The day in TIMEZONE.
        closed_day: The last closed day.
        built_day: The last day whose windows are built, None when none is.
        released_day: The last released day of each metric, None when none is.
        released_days: How many days of each metric are released.
        erasures_pending: Requests that are not complete.
        oldest_erasure_seconds: How long the oldest of them has waited; 0 when there is none.
    """

    today: date
    closed_day: date
    built_day: date | None
    released_day: Mapping[str, date | None]
    released_days: Mapping[str, int]
    erasures_pending: int
    oldest_erasure_seconds: float


def read_gauges(workspace: Workspace) -> Gauges:
    """The numbers of now.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: The ledger cannot be read.
    """
    now = workspace.now()
    with workspace.ledger.read() as connection:
        released = {metric: releases.released_days(connection, metric) for metric in METRICS}
        built = max(partitions.days_with(connection, MAU_UNIONS), default=None)
        requested = [parse_time(request.requested_at) for request in erasures.pending(connection)]
    waited = [(now - moment).total_seconds() for moment in requested]
    return Gauges(
        today=now.astimezone(workspace.settings.zone).date(),
        closed_day=last_closed_day(workspace.settings, now),
        built_day=built,
        released_day={metric: max(days, default=None) for metric, days in released.items()},
        released_days={metric: len(days) for metric, days in released.items()},
        erasures_pending=len(requested),
        oldest_erasure_seconds=max(0.0, *waited) if waited else 0.0,
    )
