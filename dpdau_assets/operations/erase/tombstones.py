"""For which epochs a user's erasure must be remembered, and the first day that erasures reach back to.

Belongs here: the floor of tombstones, which staging of "-" rows and `request_erasure` share. The epoch arithmetic
belongs to core/erasure; the rows to storage/erasures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from dpdau_assets.core import erasure
from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.engines.protocol import Door
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import RAW_EVENTS
from dpdau_assets.storage.ledger import batches, erasures, partitions, salt_facts


@dataclass(frozen=True, slots=True)
class TombstoneEpochs:
    """Where an erasure is remembered.

    Attributes:
        epochs: Every epoch that gets a tombstone, in order; none when no accepted day can be concerned.
        base: The epoch among them that has a tombstone of everybody erased, whatever their last day.
    """

    epochs: tuple[int, ...]
    base: int


def tombstone_epochs(
    workspace: Workspace, connection: Connection, through: date, *, also_held: Sequence[date] = ()
) -> TombstoneEpochs:
    """The epochs that need a tombstone for a user erased through `through`; settles floor and base if it is the first.

    Guarantee: contains the base, every epoch from it to that of `through`, and every earlier one under which a day is
    held. Days that arrive later under another earlier epoch are asked for by the base, see `door_of`. Epochs whose
    secret was destroyed are left out: nothing can be keyed under them any more.

    Args:
        workspace: The open data folder.
        connection: The write transaction that records the erasure.
        through: Last erased day.
        also_held: Days of activity that are about to be recorded, ascending.
    """
    salts, window_days = workspace.salts, workspace.settings.mau_window_days
    held = sorted({*also_held, *batches.staged_days(connection), *partitions.days_with(connection, RAW_EVENTS)})
    floor = _floor(workspace, connection, held[:1])
    needed = erasure.tombstone_epochs(salts.calendar, floor=floor, through=through, window_days=window_days)
    base = _base(workspace, connection, needed, through)
    if not needed:
        return TombstoneEpochs((), base)
    keyed = {epoch for day in held for epoch in salts.calendar.keyed_epochs(day, window_days)}
    chosen = {base, *(epoch for epoch in needed if epoch >= base or epoch in keyed)}
    return TombstoneEpochs(tuple(sorted(epoch for epoch in chosen if epoch >= salts.lowest_epoch)), base)


def door_of(workspace: Workspace, connection: Connection) -> Door | None:
    """Whom a source that is about to be read must leave out of the epochs that tombstones may leave out.

    A user erased before a day of such an epoch was first held has no tombstone under it. While the source is read,
    their raw id tells their pseudonym under the base too. None while nobody is erased.

    Args:
        workspace: The open data folder.
        connection: Any transaction.
    """
    base = erasures.tombstone_base(connection)
    if base is None or base <= workspace.salts.lowest_epoch:
        return None
    stones = erasures.tombstones(connection, base)
    return Door(base, stones.keys, stones.through)


def is_behind_door(workspace: Workspace, connection: Connection, days: Sequence[date]) -> bool:
    """Whether any of `days` is keyed under an epoch that tombstones may leave out."""
    base, window_days = erasures.tombstone_base(connection), workspace.settings.mau_window_days
    calendar = workspace.salts.calendar
    return base is not None and any(calendar.keyed_epochs(day, window_days).start < base for day in days)


def _base(workspace: Workspace, connection: Connection, needed: range, through: date) -> int:
    """The base. It never changes, so a rotation must not either number its epoch anew or give it another secret.

    A rotation starts after every day held or erased; therefore the base holds such a day or lies before one. With a
    series it is where releases may reach back to, so that no day of theirs lies before it.
    """
    stored = erasures.tombstone_base(connection)
    if stored is not None:
        return stored
    if erasures.has_any(connection):  # of a time when tombstones left out no epoch
        return needed.start
    calendar = workspace.salts.calendar
    base = calendar.epoch_of(max([through, *partitions.days_with(connection, RAW_EVENTS)[-1:]]))
    floor = workspace.series_floor()
    if floor is not None:
        start = max(floor - (workspace.settings.mau_window_days - 1) * ONE_DAY, EARLIEST_DAY)
        base = min(base, calendar.epoch_of(start))
    erasures.set_tombstone_base(connection, base)
    return base


def _floor(workspace: Workspace, connection: Connection, oldest_held: Sequence[date]) -> date:
    """The first day that erasures reach back to; days before it are refused from then on.

    Without a series that is 1970-01-01. With one, no release can ever look further back than `series_floor`, so
    tombstones cover that, or whatever older day is held already. It is never later than the series floor: which days
    are refused here can show in no release. Days that retention dropped need none: nothing of them is held or accepted.
    """
    dropped = salt_facts.retention_floor(connection)
    stored = erasures.tombstone_floor(connection)
    if stored is not None:
        return max(stored, dropped)
    floor = workspace.series_floor() or EARLIEST_DAY
    floor = max(EARLIEST_DAY, min([floor, *oldest_held]))
    erasures.set_tombstone_floor(connection, floor)
    return max(floor, dropped)
