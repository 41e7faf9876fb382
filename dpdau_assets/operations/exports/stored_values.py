"""Released values as they are stored: reading them, and nothing else.

Belongs here: what an outlet that never releases may ask. Does not belong here: releasing (`publish_releases`), budgets.
"""

from __future__ import annotations

from datetime import date

from dpdau_assets.core.quantities import Metric
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import releases


def stored_value(workspace: Workspace, metric: Metric, day: date) -> ReleaseResult | None:
    """The latest revision of a released value; None when the day is not released.

    Args:
        workspace: The open data folder.
        metric: The metric.
        day: Last day of the window.
    """
    with workspace.ledger.read() as connection:
        found = releases.find_release(connection, metric, day)
    return None if found is None else ReleaseResult.from_json(found.result)


def stored_values(
    workspace: Workspace, *, metric: Metric | None = None, first: date | None = None, last: date | None = None
) -> list[ReleaseResult]:
    """The latest revision of every released value, by day and metric.

    Args:
        workspace: The open data folder.
        metric: Only this one; by default all.
        first: None before this day.
        last: None after this day.
    """
    with workspace.ledger.read() as connection:
        found = releases.releases_between(connection, first, last, metric=metric)
    return [ReleaseResult.from_json(release.result) for release in found]
