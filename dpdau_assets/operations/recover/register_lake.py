"""Taking the key files on disk into a restored ledger: after a loss of the ledger alone they are newer than it.

Belongs here: which files of raw events and staging are whole, and their rows. Replaying the journal belongs to
`restore`. A file is whole when its structure, its sorted order and the checksum of every page hold; one that is not, or
of which there is only a trace, has a row that fits no bytes, so that whoever reads that day is told, and nothing is
counted without it in silence.
What can be made again from raw events gets no row: its files go and it is built anew.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select, update

from dpdau_assets.storage.disk.durable import link_or_copy_new, make_durable
from dpdau_assets.storage.lake.key_files import check_key_file
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY, FILES_OF_DAYS, KEY_FILE, RAW_EVENTS, STAGED_FILE, day_of
from dpdau_assets.storage.ledger import partitions
from dpdau_assets.storage.ledger.batches import record
from dpdau_assets.storage.ledger.ledger import get_meta, set_meta
from dpdau_assets.storage.ledger.partitions import VERSION_KEY, Partition
from dpdau_assets.storage.ledger.schema import batches, staged_files
from dpdau_assets.storage.ledger.schema import partitions as partition_rows

VERSION_STEP = 10**9
"""How far versions of partitions jump, so that who has seen the lost ones sees the new ones as newer."""
NO_DIGEST = "0" * 64


@dataclass
class Registered:
    """What was found (trusted side).

    Attributes:
        raw_files: Files of raw events that are whole.
        repaired: Those of them that were taken from the live users of their day.
        staged: Staged files that are whole.
        damaged: Files that are there and not whole.
        missing: Files of raw events that something tells of and nobody finds.
        orphan_files: Staged files of batches that no row names.
        staged_of_batch: Staged files by the seq of their batch.
    """

    raw_files: int = 0
    repaired: int = 0
    staged: int = 0
    damaged: int = 0
    missing: int = 0
    orphan_files: int = 0
    staged_of_batch: dict[int, int] = field(default_factory=dict)


def register_lake(
    connection: Connection,
    lake: Lake,
    *,
    files_of_batch: Mapping[int, int],
    held_from: date,
    is_put_back: bool,
    now: datetime,
) -> Registered:
    """Makes the rows of partitions and staged files those of the files on disk. Hold the lake lock.

    Args:
        connection: The write transaction of the restored ledger.
        lake: The files.
        files_of_batch: How many files the journal says a batch staged, by its seq.
        held_from: The floor of retention; earlier days have no files and get no row.
        is_put_back: Whether the files are those of a copy; then what the copy lacks is forgotten, not lost.
        now: The time.

    Raises:
        StorageError: A file cannot be read.
    """
    found = Registered()
    before = partitions.load(connection, [RAW_EVENTS], held_from)
    connection.execute(delete(partition_rows))
    set_meta(connection, VERSION_KEY, str(int(get_meta(connection, VERSION_KEY) or 0) + VERSION_STEP))
    rows = _raw_events(lake, before, found, held_from, is_put_back=is_put_back)
    partitions.save(connection, rows, now=now)
    _register_staged(connection, lake, files_of_batch, found, held_from)
    return found


def _raw_events(
    lake: Lake, before: Mapping[tuple[str, date], Partition], found: Registered, held_from: date, *, is_put_back: bool
) -> list[Partition]:
    """The rows of raw events: of every file that is there, or of which an earlier row or the live users tell.

    After a replay the live users of a day are its raw events, so they stand in for a file that is missing or damaged.
    """
    raw, live = (
        {(day, epoch): path for path, day, (epoch,) in _dated(lake.partitions / asset, KEY_FILE, held_from)}
        for asset in (RAW_EVENTS, ERASURE_REPLAY)
    )
    told = {*live, *((day, epoch) for (_, day), row in before.items() for epoch in row.files)}
    if is_put_back:
        told, live = set(), {}
    files: dict[date, dict[str, str]] = {day: {} for _, day in before}
    with lake.write_batch() as repaired:
        for day, epoch in sorted({*raw, *told}):
            digest = _intact_digest(raw, day, epoch)
            if digest is None and (digest := _intact_digest(live, day, epoch)) is not None:
                repaired.link(live[day, epoch], lake.partition_path(RAW_EVENTS, day, epoch=int(epoch)))
                found.repaired += 1
            found.raw_files += digest is not None
            found.damaged += digest is None and (day, epoch) in raw
            found.missing += digest is None and (day, epoch) not in raw
            files.setdefault(day, {})[epoch] = digest or NO_DIGEST
        repaired.publish()
    return [Partition(RAW_EVENTS, day, named, "", 0) for day, named in sorted(files.items())]


def _intact_digest(files: Mapping[tuple[date, str], Path], day: date, epoch: str) -> str | None:
    """The digest of a day's file under an epoch, None when there is none or it is not whole."""
    path = files.get((day, epoch))
    return None if path is None else check_key_file(path)


def _register_staged(
    connection: Connection, lake: Lake, files_of_batch: Mapping[int, int], found: Registered, held_from: date
) -> None:
    """Staged files of known batches; a batch with fewer than it had is at least partly folded."""
    names: dict[str, int] = {row.batch: row.seq for row in connection.execute(select(batches.c.batch, batches.c.seq))}
    earlier: dict[int, int] = {}
    for seq in connection.scalars(select(staged_files.c.batch_seq)):
        earlier[seq] = earlier.get(seq, 0) + 1
    connection.execute(delete(staged_files))
    present = found.staged_of_batch
    for path, day, (batch, epoch) in _dated(lake.staging, STAGED_FILE, held_from):
        if batch not in names:
            found.orphan_files += 1
            continue
        digest = check_key_file(path)
        found.staged += digest is not None
        found.damaged += digest is None
        present[names[batch]] = present.get(names[batch], 0) + 1
        row = {"batch_seq": names[batch], "day": day, "epoch": int(epoch), "digest": digest or NO_DIGEST}
        connection.execute(insert(staged_files), row)
    expected = {**earlier, **files_of_batch}
    for seq in (seq for seq, count in expected.items() if present.get(seq, 0) < count):
        connection.execute(update(batches).where(batches.c.seq == seq).values(is_folded=True))


def register_orphan_batches(connection: Connection, lake: Lake, *, held_from: date, now: datetime) -> int:
    """Takes staged files of lost batches in, each batch under a new name; how many batches.

    Their events were acknowledged and the journal has a gap. The new name lets the same source be ingested again: a
    part of it may never have been staged.

    Args:
        connection: The write transaction of the restored ledger.
        lake: The files; hold the lake lock.
        held_from: The floor of retention; files of earlier days are left to go.
        now: The time.

    Raises:
        StorageError: A file cannot be read or linked.
    """
    names = set(connection.scalars(select(batches.c.batch)))
    lost: dict[str, list[tuple[Path, date, int, str]]] = {}
    for path, day, (batch, epoch) in _dated(lake.staging, STAGED_FILE, held_from):
        digest = None if batch in names else check_key_file(path)
        if digest is not None:
            lost.setdefault(batch, []).append((path, day, int(epoch), digest))
    for found in lost.values():
        name = secrets.token_hex(16)
        targets = [lake.staging_path(day, batch=name, epoch=epoch) for _, day, epoch, _ in found]
        for (path, *_), target in zip(found, targets, strict=True):
            link_or_copy_new(path, target)
        make_durable(targets)
        files = [(day, epoch, digest) for _, day, epoch, digest in found]
        record(
            connection,
            name,
            source_format="adopted",
            events=0,
            accepted=0,
            rejected={},
            erasures=0,
            files=files,
            now=now,
        )
    return len(lost)


def _dated(folder: Path, pattern: re.Pattern[str], held_from: date) -> list[tuple[Path, date, tuple[str, ...]]]:
    """Files of a folder of days whose names fit, with their day and the parts of their name.

    Without days before the floor: their tombstones are gone, so whoever was erased there would be back. Files that get
    no row are removed at the end of a restore.
    """
    found = []
    for path in sorted(folder.glob(FILES_OF_DAYS)):
        match, day = pattern.fullmatch(path.name), day_of(path.parent.name)
        if match and day and day >= held_from:
            found.append((path, day, match.groups()))
    return found
