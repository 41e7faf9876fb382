"""Making new files and their ledger rows visible together, and healing what a crash left in between.

Belongs here: the order of every replacement of key-level files, and its recovery. What the new files hold belongs to
the operation that writes them. The order:

    1  new files are written under temporary names and made durable
    2  the intent, lake/.intent.json, names every (asset, day) with the digests it is about to have
    3  files move to their places
    4  one ledger transaction records them and forgets the staged files that went into them
    5  replaced and folded files that nothing refers to any more are removed, then the intent

A crash before 2 leaves nothing but temporary files; after 4, only files to remove. Between, a file is either the one
the ledger knows or the one the intent knows: `recover` believes no other. The intent holds days and digests, no keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.errors import DataError
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import file_digest, read_bytes, remove
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import KEYS_SUFFIX, MAU_UNIONS, RAW_EVENTS, partition_name
from dpdau_assets.storage.lake.write_batch import WriteBatch
from dpdau_assets.storage.ledger import batches, partitions
from dpdau_assets.storage.ledger.batches import StagedFile
from dpdau_assets.storage.ledger.partitions import Partition

DAYS_PER_PUBLICATION = 1024


@dataclass
class Publication:
    """What becomes visible together.

    Attributes:
        files: Pending files.
        rows: New partition rows; each names all files its partition then has.
        references: New partition rows whose files are those of another partition.
        folded: Staged files that went into `rows`.
        rewritten: Staged files that were rewritten, with their new digests; None for one that was emptied.
    """

    files: WriteBatch
    rows: list[Partition] = field(default_factory=list)
    references: list[Partition] = field(default_factory=list)
    folded: list[StagedFile] = field(default_factory=list)
    rewritten: list[tuple[StagedFile, str | None]] = field(default_factory=list)


@contextmanager
def publication(workspace: Workspace) -> Iterator[Publication]:
    """A publication to fill; leaving the block without `publish` leaves no trace. Hold the lake lock."""
    with workspace.lake.write_batch() as files:
        yield Publication(files)


def publish(workspace: Workspace, new: Publication, known: Mapping[tuple[str, date], Partition]) -> None:
    """Makes `new` visible in the order above; a repeat after a crash anywhere in it is harmless.

    Args:
        workspace: The open data folder; its lake lock is held.
        new: Pending files and rows.
        known: The rows that the ledger holds now.

    Raises:
        StorageError: The disk or the ledger refused; the next holder of the lake lock completes what was begun.
    """
    moved = [row for row in new.rows if _changes_files(row, known.get((row.asset, row.day)))]
    intent = workspace.lake.intent_path
    needs_intent = bool(moved or new.folded or new.rewritten)
    if needs_intent:
        with workspace.lake.write_batch() as files:  # in tmp/, where a later sweep finds it
            files.write_bytes(intent, json.dumps(_document(new, moved)).encode())
            files.publish()
    new.files.publish()
    with workspace.ledger.write() as connection:
        partitions.save(connection, [*new.rows, *new.references], now=workspace.clock())
        batches.forget_staged(connection, new.folded)
        _save_rewritten(connection, new.rewritten)
    for row in moved:
        _remove_obsolete(workspace.lake, row, known.get((row.asset, row.day)), kept=row.files)
    for row in new.references:
        _remove_obsolete(workspace.lake, row, known.get((row.asset, row.day)), kept={})
    gone = [*new.folded, *(staged for staged, digest in new.rewritten if digest is None)]
    _remove_staged(workspace.lake, gone)
    if needs_intent:
        remove([intent])


def recover(workspace: Workspace) -> bool:
    """Completes or undoes a publication that a crash interrupted; whether there was one. Hold the lake lock.

    Raw events keep whichever of their files the ledger or the intent knows, and staged files that went into a file in
    place are forgotten. Everything made from raw events that was not recorded is removed and will be built again.

    Raises:
        DataError: A file is neither the one recorded nor the one intended.
    """
    intent = workspace.lake.intent_path
    if not intent.exists():
        return False
    document = _parse(intent)
    folded = [StagedFile(*_staged_fields(item)) for item in document["folded"]]
    rewritten = [(StagedFile(*_staged_fields(item[:5])), item[5]) for item in document["rewritten"]]
    with workspace.ledger.write() as connection:
        for asset, day, *rest in document["partitions"]:
            recover_partition(workspace, connection, Partition(asset, date.fromisoformat(day), *rest), folded)
        _recover_rewritten(workspace.lake, connection, rewritten)
    with workspace.ledger.read() as connection:
        left = set(batches.staged_between(connection))
    names = {(file.batch_seq, file.day, file.epoch) for file in left}
    touched = [*folded, *(staged for staged, _ in rewritten)]
    _remove_staged(workspace.lake, [file for file in touched if (file.batch_seq, file.day, file.epoch) not in names])
    remove([intent])
    return True


def partition_files(lake: Lake, asset: str, day: date, files: Mapping[str, str]) -> dict[Path, str]:
    """The paths of a partition's files with their digests."""
    if asset == MAU_UNIONS:
        return {lake.windows_path(day): digest for digest in files.values()}
    return {lake.partition_path(asset, day, epoch=int(epoch)): digest for epoch, digest in files.items()}


def _changes_files(row: Partition, known: Partition | None) -> bool:
    """Whether the files of the partition change."""
    return dict(row.files) != dict(known.files if known else {})


def _document(new: Publication, moved: list[Partition]) -> dict[str, Any]:
    return {
        "partitions": [
            [row.asset, row.day.isoformat(), dict(row.files), row.input_digest, row.applied_erasure_seq]
            for row in moved
        ],
        "folded": [_staged_item(file) for file in new.folded],
        "rewritten": [[*_staged_item(file), digest] for file, digest in new.rewritten],
    }


def _staged_item(file: StagedFile) -> list[Any]:
    return [file.batch_seq, file.batch, file.day.isoformat(), file.epoch, file.digest]


def _staged_fields(item: list[Any]) -> tuple[int, str, date, int, str]:
    return item[0], item[1], date.fromisoformat(item[2]), item[3], item[4]


def is_readable(lake: Lake) -> bool:
    """Whether the intent of an interrupted publication, which must exist, can be read."""
    with suppress(DataError):
        return bool(_parse(lake.intent_path))
    return False


def _parse(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(read_bytes(path))
    except ValueError:
        raise DataError(f"{path} is damaged", hint="run `dpdau rebuild` over the days last written") from None
    return document


def _save_rewritten(connection: Connection, rewritten: list[tuple[StagedFile, str | None]]) -> None:
    batches.forget_staged(connection, [file for file, digest in rewritten if digest is None], is_fold=False)
    for file, digest in rewritten:
        if digest is not None:
            batches.set_staged_digest(connection, file, digest)


def recover_partition(
    workspace: Workspace, connection: Connection, intended: Partition, folded: list[StagedFile]
) -> None:
    """Brings one (asset, day) of the intent to a state in which ledger and files agree."""
    asset, day = intended.asset, intended.day
    known = partitions.load(connection, [asset], day, day).get((asset, day))
    if known is not None and (dict(known.files), known.input_digest) == (dict(intended.files), intended.input_digest):
        _remove_others(workspace.lake, asset, day, kept=known.files)
        return
    if asset != RAW_EVENTS:
        _remove_others(workspace.lake, asset, day, kept={})
        if known is not None:  # known to be behind, so that every later operation builds it again
            emptied = Partition(asset, day, {}, "", known.applied_erasure_seq)
            partitions.save(connection, [emptied], now=workspace.clock())
        return
    files = _files_in_place(workspace.lake, intended, known)
    applied = known.applied_erasure_seq if known else intended.applied_erasure_seq
    partitions.save(connection, [Partition(asset, day, files, "", applied)], now=workspace.clock())
    in_place = {int(epoch) for epoch, digest in files.items() if intended.files.get(epoch) == digest}
    batches.forget_staged(connection, [file for file in folded if file.day == day and file.epoch in in_place])
    _remove_others(workspace.lake, asset, day, kept=files)


def _files_in_place(lake: Lake, intended: Partition, known: Partition | None) -> dict[str, str]:
    """Which file of raw events is at each epoch's place: the intended or the known one."""
    recorded = dict(known.files) if known else {}
    files: dict[str, str] = {}
    for epoch in sorted({*recorded, *intended.files}):
        path = lake.partition_path(intended.asset, intended.day, epoch=int(epoch))
        if not path.exists():
            if epoch in recorded:
                raise DataError(f"{path} is recorded but does not exist", hint="run `dpdau restore --lake`")
            continue
        found = file_digest(path)
        if found not in (recorded.get(epoch), intended.files.get(epoch)):
            raise DataError(f"{path} does not hold the bytes that were recorded", hint="run `dpdau restore --lake`")
        files[epoch] = found
    return files


def _recover_rewritten(lake: Lake, connection: Connection, rewritten: list[tuple[StagedFile, str | None]]) -> None:
    """Records staged files that were rewritten before the crash; the others are found again by the next replay."""
    left = {(file.batch_seq, file.day, file.epoch) for file in batches.staged_between(connection)}
    for file, digest in rewritten:
        path = lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)
        if digest is not None and (file.batch_seq, file.day, file.epoch) in left and file_digest(path) == digest:
            batches.set_staged_digest(connection, file, digest)


def _remove_obsolete(lake: Lake, row: Partition, known: Partition | None, *, kept: Mapping[str, str]) -> None:
    """Removes the files of a partition that it had and has no more."""
    if known is not None and not set(known.files) <= set(kept):
        _remove_others(lake, row.asset, row.day, kept=kept)


def _remove_others(lake: Lake, asset: str, day: date, *, kept: Mapping[str, str]) -> None:
    """Removes every file of a partition that is not in `kept`."""
    folder = lake.partition_folder(asset, day)
    if folder.is_dir():
        names = {partition_name(asset, name) for name in kept}
        remove(path for path in sorted(folder.glob(f"*{KEYS_SUFFIX}")) if path.name not in names)
        if not kept:
            with suppress(OSError):
                folder.rmdir()


def _remove_staged(lake: Lake, files: list[StagedFile]) -> None:
    """Removes staged files that no ledger row names any more; their folders stay for the next batch of the day."""
    remove(lake.staging_path(file.day, batch=file.batch, epoch=file.epoch) for file in files)
