"""For which epochs a user's erasure must be remembered, and the first day that erasures reach back to.

Belongs here: the floor of tombstones, which staging of "-" rows and `erase.request` share. The epoch arithmetic
belongs to core/erasure; the rows to storage/ledger/erasures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from dpdau_assets.core import erasure
from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.engines.protocol import IngestErasureFilter
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import RAW_EVENTS
from dpdau_assets.storage.ledger import batches, erasures, partitions, salt_facts


@dataclass(frozen=True, slots=True)
class TombstoneEpochs:
    """Where an erasure is remembered.

    Attributes:
        epochs: Every epoch that gets a tombstone, in order; none when no accepted day can be concerned.
        reference_epoch: The epoch among them that has a tombstone of everybody erased, whatever their last day.
    """

    epochs: tuple[int, ...]
    reference_epoch: int


def tombstone_epochs(
    workspace: Workspace, connection: Connection, through: date, *, also_held: Sequence[date] = ()
) -> TombstoneEpochs:
    """The epochs that need a tombstone for a user erased through `through`; settles their coverage if it is the first.

    Guarantee: contains the reference epoch, every epoch from it to that of `through`, and every earlier one under which
    a day is held. Days that arrive later under another earlier epoch pass the ingest erasure filter, see
    `erasure_filter_of`. Epochs whose secret was destroyed are left out: nothing can be keyed under them any more.

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
    reference_epoch = _reference_epoch(workspace, connection, needed, through)
    if not needed:
        return TombstoneEpochs((), reference_epoch)
    keyed = {epoch for day in held for epoch in salts.calendar.keyed_epochs(day, window_days)}
    chosen = {reference_epoch, *(epoch for epoch in needed if epoch >= reference_epoch or epoch in keyed)}
    return TombstoneEpochs(tuple(sorted(epoch for epoch in chosen if epoch >= salts.lowest_epoch)), reference_epoch)


def erasure_filter_of(workspace: Workspace, connection: Connection) -> IngestErasureFilter | None:
    """The users that reading a source must leave out of days keyed under epochs that tombstones may leave out.

    A user erased before a day of such an epoch was first held has no tombstone under it. While the source is read,
    the raw id tells the user's pseudonym under the reference epoch too. None while nobody is erased.

    Args:
        workspace: The open data folder.
        connection: Any transaction.
    """
    reference_epoch = erasures.reference_epoch(connection)
    if reference_epoch is None or reference_epoch <= workspace.salts.lowest_epoch:
        return None
    tombstones = erasures.tombstones(connection, reference_epoch)
    return IngestErasureFilter(reference_epoch, tombstones.keys, tombstones.through)


def needs_erasure_filter(workspace: Workspace, connection: Connection, days: Sequence[date]) -> bool:
    """Whether any of `days` is keyed under an epoch that tombstones may leave out."""
    first_complete = erasures.reference_epoch(connection)
    calendar, window_days = workspace.salts.calendar, workspace.settings.mau_window_days
    return first_complete is not None and any(
        calendar.keyed_epochs(day, window_days).start < first_complete for day in days
    )


def _reference_epoch(workspace: Workspace, connection: Connection, needed: range, through: date) -> int:
    """The reference epoch. It never changes: no rotation may number it anew or give it another secret.

    A rotation starts after every day held or erased; so the reference epoch holds such a day or lies before one. With a
    series it is where releases may reach back to, so that no day of theirs lies before it.
    """
    stored = erasures.reference_epoch(connection)
    if stored is not None:
        return stored
    if erasures.has_any(connection):  # of a time when tombstones left out no epoch
        return needed.start
    calendar = workspace.salts.calendar
    reference_epoch = calendar.epoch_of(max([through, *partitions.days_with(connection, RAW_EVENTS)[-1:]]))
    floor = workspace.series_floor()
    if floor is not None:
        start = max(floor - (workspace.settings.mau_window_days - 1) * ONE_DAY, EARLIEST_DAY)
        reference_epoch = min(reference_epoch, calendar.epoch_of(start))
    erasures.set_reference_epoch(connection, reference_epoch)
    return reference_epoch


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
