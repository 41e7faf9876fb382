"""For which epochs a user's erasure must be remembered, and the first day that erasures reach back to.

Belongs here: the floor of tombstones, which staging of "-" rows and `request_erasure` share. The epoch arithmetic
belongs to core/erasure; the rows to storage/erasures.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy import Connection

from dpdau_assets.core import erasure
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.operations.lineage import RAW_EVENTS
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage import batches, epoch_facts, erasures, partitions


def tombstone_epochs(
    workspace: Workspace, connection: Connection, through: date, *, also_held: Sequence[date] = ()
) -> range:
    """The epochs that need a tombstone for a user erased through `through`; fixes the floor when it is the first.

    Guarantee: contains every epoch under which an accepted day up to `through` is or will be keyed. Epochs whose secret
    was destroyed are left out: nothing can be keyed under them any more.

    Args:
        workspace: The open data folder.
        connection: The write transaction that records the erasure.
        through: Last erased day.
        also_held: Days of activity that are about to be recorded, ascending.
    """
    salts = workspace.salts
    needed = erasure.tombstone_epochs(
        salts.calendar,
        floor=_floor(workspace, connection, also_held),
        through=through,
        window_days=workspace.settings.mau_window_days,
    )
    return range(max(needed.start, salts.lowest_epoch), needed.stop)


def _floor(workspace: Workspace, connection: Connection, also_held: Sequence[date]) -> date:
    """The first day that tombstones cover; days before it are refused from then on.

    Without a series that is 1970-01-01. With one, no release can ever look further back than `series_floor`, so
    tombstones cover that, or whatever older day is held already. It is never later than the series floor: which days
    are refused here can show in no release. Days that retention dropped need none: nothing of them is held or accepted.
    """
    dropped = epoch_facts.retention_floor(connection)
    stored = erasures.tombstone_floor(connection)
    if stored is not None:
        return max(stored, dropped)
    floor = workspace.series_floor() or EARLIEST_DAY
    held = [*also_held[:1], *batches.staged_days(connection)[:1], *partitions.days_with(connection, RAW_EVENTS)[:1]]
    floor = max(EARLIEST_DAY, min([floor, *held]))
    erasures.set_tombstone_floor(connection, floor)
    return max(floor, dropped)
