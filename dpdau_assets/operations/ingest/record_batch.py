"""Recording a source that was read: its files in their places, its batch and its erasures in one ledger transaction.

Belongs here: everything that happens under the lake lock while staging. Does not belong here: reading (`stage`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy import Connection

from dpdau_assets.engines.protocol import IngestErasureFilter, Reading, RowCounts, RowLimits
from dpdau_assets.engines.sources.source import Source
from dpdau_assets.operations.erase.tombstones import needs_erasure_filter, tombstone_epochs
from dpdau_assets.operations.ingest.staging_area import StagedRow, StagingArea
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import remove
from dpdau_assets.storage.ledger import batches, erasures
from dpdau_assets.storage.ledger.erasures import Tombstones


class Outcome(Enum):
    """What became of a source."""

    RECORDED = "recorded"
    KNOWN = "known"
    TERMS_CHANGED = "which days are too old, or who is erased on them, was settled by another process meanwhile"


@dataclass(frozen=True, slots=True, repr=False)
class Terms:
    """What held when a source was read (sensitive; prints as nothing).

    Attributes:
        limits: Which rows were accepted.
        erasure_filter: Whom reading left out.
        erasure_seq: The newest erasure request that the filter knew.
    """

    limits: RowLimits
    erasure_filter: IngestErasureFilter | None
    erasure_seq: int


def record_batch(
    workspace: Workspace, source: Source, batch: str, area: StagingArea, reading: Reading, terms: Terms
) -> Outcome:
    """Puts the files of a source that was read in their places and records them; see the steps of `stage`.

    Args:
        workspace: The open data folder; its lake lock must be free.
        source: The source.
        batch: Its name.
        area: Its keys.
        reading: Its counts and the ids of its "-" rows.
        terms: What held when it was read.

    Raises:
        StorageError: Disk, lock or ledger refused; nothing is recorded.
    """
    lake, counts = workspace.lake, reading.counts
    with lake.lock(), lake.write_batch() as files:
        with workspace.ledger.read() as connection:
            workspace.check_salts(connection)  # before files are put in places that nobody would look at
            if batches.find(connection, batch) is not None:
                return Outcome.KNOWN
        own = _tombstones(workspace, reading)
        with workspace.ledger.read() as connection:
            erased = (erased_before(connection, area), ErasedKeys(own))
        rows = area.put(files, lake, batch=batch, erased=erased)
        if counts.rejected:
            files.write_bytes(lake.quarantine_path(batch), _quarantine(batch, source.format, counts))
        files.publish()
        now = workspace.now()
        with workspace.ledger.write() as connection:
            workspace.freeze(connection)
            is_current = _still_holds(workspace, connection, terms, counts)
            if is_current:
                record_rows(connection, source, batch, counts, rows=rows, own=own, now=now)
        if not is_current:
            remove(lake.staging_path(day, batch=batch, epoch=epoch) for day, epoch, _ in rows)
    return Outcome.RECORDED if is_current else Outcome.TERMS_CHANGED


def _still_holds(workspace: Workspace, connection: Connection, terms: Terms, counts: RowCounts) -> bool:
    """Whether reading the source now would accept the same days and leave out the same users."""
    floor = erasures.acceptance_floor(connection)
    if floor > terms.limits.oldest_day and any(day < floor for day in counts.days):
        return False
    knows_all = erasures.last_seq(connection) <= terms.erasure_seq
    return knows_all or not needs_erasure_filter(workspace, connection, counts.days)


def record_rows(
    connection: Connection,
    source: Source,
    batch: str,
    counts: RowCounts,
    *,
    rows: list[StagedRow],
    own: Mapping[int, Tombstones],
    now: datetime,
) -> None:
    """Writes the rows of a batch and of the erasures that it asks for into the ledger."""
    batches.record(
        connection,
        batch,
        source_format=source.format,
        events=counts.events,
        accepted=counts.accepted,
        rejected=counts.rejected,
        erasures=counts.erasures,
        files=rows,
        now=now,
    )
    if own:
        users = max(len(tombstones) for tombstones in own.values())
        through = ErasedKeys(own).last_day()
        erasures.request(connection, batch, through_day=through, tombstones=own, users=users, now=now)


def _tombstones(workspace: Workspace, reading: Reading) -> dict[int, Tombstones]:
    """The tombstones of the "-" rows, for every epoch that an activity of their users may be keyed under."""
    last = reading.erased_through
    if last is None:
        return {}
    with workspace.ledger.write() as connection:
        workspace.freeze(connection)
        chosen = tombstone_epochs(workspace, connection, last, also_held=reading.counts.days)
    found = reading.erased_keys(chosen.epochs, of_everybody=chosen.reference_epoch)
    return {one.epoch: Tombstones(one.keys, one.through_days) for one in found}


def erased_before(connection: Connection, area: StagingArea) -> ErasedKeys:
    """The tombstones in the ledger that concern any day of the source."""
    first_days = area.first_days
    return ErasedKeys(
        {
            epoch: erasures.tombstones(connection, epoch, through_at_least=first_days[epoch])
            for epoch in erasures.epochs(connection)
            if epoch in first_days
        }
    )


def _quarantine(batch: str, source_format: str, counts: RowCounts) -> bytes:
    """The report of refused rows: reasons and line numbers; no content and no file name, for a name can hold an id."""
    document = {
        "batch": batch,
        "format": source_format,
        "events": counts.events,
        "accepted": counts.accepted,
        "rejected": dict(counts.rejected),
        "lines": {reason: list(lines) for reason, lines in counts.lines.items()},
    }
    return json.dumps(document, indent=1).encode()
