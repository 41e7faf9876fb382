"""Verifying the lake: every partition and staged file is the recorded one and holds nobody who must be gone.

Belongs here: the files that ledger rows name. Hold the lake lock. Does not belong here: files that none names
(`verify_orphans`), all other places (`other_places`), the ledger's own tables (`verify.ledger`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.core.quantities import DayRange, contiguous_ranges
from dpdau_assets.errors import DataError
from dpdau_assets.operations.session.pieces import in_threads
from dpdau_assets.operations.session.publication import is_readable, partition_files
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.operations.verify.findings import (
    FLUSH_DELETES,
    RESTORE_LAKE,
    Action,
    AppliedErasures,
    Repair,
    Report,
    day_range_text,
    rebuild_of,
)
from dpdau_assets.operations.verify.sketches import LiveErased, holds_erased_sketch, holds_erased_union
from dpdau_assets.storage.disk.durable import file_digest, has_digest
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_assets.storage.lake.layout import ASSETS, DAILY_SKETCHES, ERASURE_REPLAY, MAU_UNIONS, RAW_EVENTS, STAGING
from dpdau_assets.storage.ledger import batches
from dpdau_assets.storage.ledger.batches import StagedFile
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_assets.storage.scan.byte_search import KeySearch


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """What the ledger says is in lake/ and staging/, at one state of it.

    Attributes:
        rows: All partitions by (asset, day).
        staged: All staged files.
        days: The days to be looked at; files of other days are only checked for being known.
    """

    rows: Mapping[tuple[str, date], Partition]
    staged: list[StagedFile]
    days: DayRange


@dataclass(frozen=True, slots=True, repr=False)
class _Seen:
    """What was seen in one file of a partition or of staging (sensitive: it names a day)."""

    kind: str
    day: date
    is_damaged: bool = False
    is_erased: bool = False


@dataclass
class _Looking:
    """What the checks of single files share."""

    workspace: Workspace
    known: KnownFiles
    erased: AppliedErasures
    clean: set[tuple[int, int, str, int]] = field(default_factory=set)
    _live: dict[int, LiveErased] = field(default_factory=dict)

    def live(self, level: int) -> LiveErased:
        """Which users erased up to the request `level` are live on other days."""
        tombstones = self.erased.upto(level)
        return self._live.setdefault(id(tombstones), LiveErased(self.workspace, self.known.rows, tombstones))


def verify_lake(workspace: Workspace, known: KnownFiles, erased: AppliedErasures, report: Report) -> None:
    """Reports what is wrong in the files that the ledger names.

    Args:
        workspace: The open data folder; its lake lock is held.
        known: What the ledger says is there.
        erased: What must be gone.
        report: Takes the findings.

    Raises:
        StorageError: A file cannot be read.
    """
    looking = _Looking(workspace, known, erased)
    is_interrupted = workspace.lake.intent_path.exists()
    for asset in ASSETS:
        rows = [row for (name, day), row in sorted(known.rows.items()) if name == asset and day in known.days]
        seen = [one for found in in_threads(lambda row: _look_at_partition(looking, row), rows) for one in found]
        _report_partitions(looking, report, asset, seen, is_interrupted=is_interrupted)
    _report_staging(looking, report)
    if is_interrupted:
        report.find(
            "leftover",
            "lake",
            "a replacement of files was interrupted and is not completed",
            repair=FLUSH_DELETES if is_readable(workspace.lake) else rebuild_of(known.days),
        )


def own_files(workspace: Workspace, row: Partition) -> Mapping[Path, str]:
    """The files of a partition with their digests; without those of sketches that refer to the live users."""
    files = partition_files(workspace.lake, row.asset, row.day, row.files)
    if row.asset != DAILY_SKETCHES or workspace.settings.sketch_impl != "set":
        return files
    return {path: digest for path, digest in files.items() if path.exists()}


def _look_at_partition(looking: _Looking, row: Partition) -> list[_Seen]:
    """What is wrong in the files of one partition."""
    files = own_files(looking.workspace, row)
    found = []
    for path, digest in files.items():
        is_damaged, is_erased = _look_at_file(looking, row, path, digest)
        if is_damaged or is_erased:
            found.append(_Seen(row.asset, row.day, is_damaged, is_erased))
    return found


def _look_at_file(looking: _Looking, row: Partition, path: Path, digest: str) -> tuple[bool, bool]:
    """Whether a file is not the recorded one, and whether it holds somebody who must be gone."""
    tombstones = looking.erased.upto(row.applied_erasure_seq)
    try:
        if row.asset == MAU_UNIONS:
            return False, holds_erased_union(path, digest, looking.live(row.applied_erasure_seq))
        epoch = int(path.stem.removeprefix("e"))
        if row.asset == DAILY_SKETCHES:
            return False, holds_erased_sketch(path, digest, tombstones, day=row.day, epoch=epoch)
        return False, _holds_erased_keys(looking, path, digest, row, epoch)
    except DataError:
        names = (
            [path.stem.removeprefix("e")] if row.asset != MAU_UNIONS else [str(epoch) for epoch in tombstones.epochs]
        )
        found = [tombstones.of_epoch(int(name)) for name in names]
        keys = [one.erased_on(row.day) for one in found if one is not None]
        return True, bool(keys) and holds_any(KeySearch(np.concatenate(keys)), path)


def _holds_erased_keys(looking: _Looking, path: Path, digest: str, row: Partition, epoch: int) -> bool:
    """Whether a key file, which must be the recorded one, holds a pseudonym erased on its day."""
    tombstones = looking.erased.upto(row.applied_erasure_seq)
    status = path.stat() if path.exists() else None
    mark = (status.st_ino, status.st_mtime_ns, digest, row.applied_erasure_seq) if status else None
    if mark in looking.clean:
        return False  # live users are links of raw events: one file, looked at once
    if tombstones.concerns(row.day, epoch=epoch):
        if tombstones.has_any(read_keys(path, digest=digest), day=row.day, epoch=epoch):
            return True
    elif file_digest(path) != digest:
        raise DataError(f"{path} does not hold the bytes that the ledger recorded")
    if mark:
        looking.clean.add(mark)
    return False


def _report_partitions(
    looking: _Looking, report: Report, asset: str, seen: list[_Seen], *, is_interrupted: bool
) -> None:
    """Reports the findings of one asset; where somebody was found, damage is not told by days either."""
    days = looking.known.days
    is_erased = any(one.is_erased for one in seen)
    if is_erased:
        report.find(
            "erased",
            f"{asset} {day_range_text(days)}",
            "holds a user whose erasure is recorded as applied",
            repair=rebuild_of(days),
        )
    damaged = [one.day for one in seen if one.is_damaged]
    if is_interrupted or not damaged:
        return
    for part in [days] if is_erased else contiguous_ranges(damaged):
        report.find(
            "damaged",
            f"{asset} {day_range_text(part)}",
            "a file is missing or does not hold the bytes that the ledger recorded",
            repair=_repair(looking, asset, part),
        )


def _repair(looking: _Looking, asset: str, days: DayRange) -> Repair:
    """What brings damaged files of an asset back."""
    if asset != RAW_EVENTS or all(_has_copy(looking, day) for day in days):
        return rebuild_of(days)
    return RESTORE_LAKE


def _has_copy(looking: _Looking, day: date) -> bool:
    """Whether each damaged file of a day's raw events can be taken from its live users; see `rebuild`."""
    lake, rows = looking.workspace.lake, looking.known.rows
    row = rows.get((RAW_EVENTS, day))
    files = partition_files(lake, RAW_EVENTS, day, row.files) if row else {}
    return all(
        has_digest(path, digest) or has_digest(lake.partition_folder(ERASURE_REPLAY, day) / path.name, digest)
        for path, digest in files.items()
    )


def _report_staging(looking: _Looking, report: Report) -> None:
    """Reports staged files that are missing, altered, or hold somebody who must be gone."""
    lake, known = looking.workspace.lake, looking.known

    def look(file: StagedFile) -> tuple[StagedFile, bool, bool]:
        path = lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)
        tombstones = looking.erased.completed
        try:
            keys = read_keys(path, digest=file.digest)
            return file, False, tombstones.has_any(keys, day=file.day, epoch=file.epoch)
        except DataError:
            of_epoch = tombstones.of_epoch(file.epoch)
            return file, True, of_epoch is not None and holds_any(KeySearch(of_epoch.erased_on(file.day)), path)

    seen = in_threads(look, known.staged)
    days = [file.day for file in known.staged]
    if any(is_erased for _, _, is_erased in seen):
        held = DayRange(min(days), max(days))
        report.find(
            "erased",
            f"{STAGING} {day_range_text(held)}",
            "holds a user whose erasure is complete",
            repair=rebuild_of(held),
        )
    with looking.workspace.ledger.read() as connection:
        for name in sorted({file.batch for file, is_damaged, _ in seen if is_damaged}):
            batch = batches.find(connection, name)
            can_go = batch is not None and not batch.is_folded
            report.find(
                "damaged",
                f"{STAGING} batch {name}",
                "a staged file is missing or does not hold the bytes that the ledger recorded",
                repair=Repair(Action.DISCARD_BATCH, f"dpdau discard-batch {name}, then ingest its source again")
                if can_go
                else RESTORE_LAKE,
            )
