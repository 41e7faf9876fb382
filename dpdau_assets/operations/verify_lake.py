"""Verifying the lake: every partition and staged file is the recorded one and holds nobody who must be gone.

Belongs here: the files that ledger rows name, files of lake/ and staging/ that none names, tmp/. Hold the lake lock.
Does not belong here: all other places (`verify_places`), the ledger's own tables (`verify_ledger`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.core.quantities import DayRange, contiguous_ranges
from dpdau_assets.errors import DataError
from dpdau_assets.operations.file_scan import holds_any
from dpdau_assets.operations.lake_session import in_threads
from dpdau_assets.operations.lineage import ASSETS, DAILY_SKETCHES, ERASURE_REPLAY, MAU_UNIONS, RAW_EVENTS
from dpdau_assets.operations.publication import intent_path, is_readable, partition_files
from dpdau_assets.operations.verification import (
    AT_WORK,
    HOLDS,
    AppliedErasures,
    Report,
    day_range_text,
    rebuild_command,
    remove_command,
)
from dpdau_assets.operations.verify_sketches import LiveErased, holds_erased_sketch, holds_erased_union
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage import batches
from dpdau_assets.storage.batches import StagedFile
from dpdau_assets.storage.byte_search import KeySearch
from dpdau_assets.storage.files import TEMPORARY_MARK, file_digest, read_keys
from dpdau_assets.storage.lake import Lake
from dpdau_assets.storage.partitions import Partition

STAGING = "staging"
OWN_FILES = (".lock", ".ledger-id", ".intent.json")
"""Files of lake/ that are not partitions."""


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
        stones = self.erased.upto(level)
        return self._live.setdefault(id(stones), LiveErased(self.workspace, self.known.rows, stones))


def verify_lake(workspace: Workspace, known: KnownFiles, erased: AppliedErasures, report: Report) -> None:
    """Reports what is wrong in lake/, staging/ and tmp/.

    Args:
        workspace: The open data folder; its lake lock is held.
        known: What the ledger says is there.
        erased: What must be gone.
        report: Takes the findings.

    Raises:
        StorageError: A file cannot be read.
    """
    looking = _Looking(workspace, known, erased)
    is_interrupted = intent_path(workspace.lake).exists()
    for asset in ASSETS:
        rows = [row for (name, day), row in sorted(known.rows.items()) if name == asset and day in known.days]
        seen = [one for found in in_threads(lambda row: _look_at_partition(looking, row), rows) for one in found]
        _report_partitions(looking, report, asset, seen, is_interrupted=is_interrupted)
    _report_staging(looking, report)
    _report_unknown(workspace, known, erased, report)
    if is_interrupted:
        report.find(
            "leftover",
            "lake",
            "a replacement of files was interrupted and is not completed",
            repair="dpdau flush-deletes" if is_readable(workspace.lake) else rebuild_command(known.days),
        )
    _report_temporary(workspace.lake, erased, report)


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
    stones = looking.erased.upto(row.applied_erasure_seq)
    try:
        if row.asset == MAU_UNIONS:
            return False, holds_erased_union(path, digest, looking.live(row.applied_erasure_seq))
        epoch = int(path.stem.removeprefix("e"))
        if row.asset == DAILY_SKETCHES:
            return False, holds_erased_sketch(path, digest, stones, day=row.day, epoch=epoch)
        return False, _holds_erased_keys(looking, path, digest, row, epoch)
    except DataError:
        names = [path.stem.removeprefix("e")] if row.asset != MAU_UNIONS else [str(epoch) for epoch in stones.epochs]
        found = [stones.of_epoch(int(name)) for name in names]
        keys = [one.erased_on(row.day) for one in found if one is not None]
        return True, bool(keys) and holds_any(KeySearch(np.concatenate(keys)), path)


def _holds_erased_keys(looking: _Looking, path: Path, digest: str, row: Partition, epoch: int) -> bool:
    """Whether a key file, which must be the recorded one, holds a pseudonym erased on its day."""
    stones = looking.erased.upto(row.applied_erasure_seq)
    status = path.stat() if path.exists() else None
    mark = (status.st_ino, status.st_mtime_ns, digest, row.applied_erasure_seq) if status else None
    if mark in looking.clean:
        return False  # live users are links of raw events: one file, looked at once
    if stones.concerns(row.day, epoch=epoch):
        if stones.has_any(read_keys(path, digest=digest), day=row.day, epoch=epoch):
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
            repair=rebuild_command(days),
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


def _repair(looking: _Looking, asset: str, days: DayRange) -> str:
    """What brings damaged files of an asset back."""
    if asset != RAW_EVENTS or all(_has_copy(looking, day) for day in days):
        return rebuild_command(days)
    return "dpdau restore --lake"


def _has_copy(looking: _Looking, day: date) -> bool:
    """Whether each damaged file of a day's raw events can be taken from its live users; see `rebuild`."""
    lake, rows = looking.workspace.lake, looking.known.rows
    row = rows.get((RAW_EVENTS, day))
    files = partition_files(lake, RAW_EVENTS, day, row.files) if row else {}
    return all(
        _is_recorded(path, digest) or _is_recorded(lake.partition_folder(ERASURE_REPLAY, day) / path.name, digest)
        for path, digest in files.items()
    )


def _is_recorded(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def _report_staging(looking: _Looking, report: Report) -> None:
    """Reports staged files that are missing, altered, or hold somebody who must be gone."""
    lake, known = looking.workspace.lake, looking.known

    def look(file: StagedFile) -> tuple[StagedFile, bool, bool]:
        path = lake.staging_path(file.day, batch=file.batch, epoch=file.epoch)
        stones = looking.erased.completed
        try:
            keys = read_keys(path, digest=file.digest)
            return file, False, stones.has_any(keys, day=file.day, epoch=file.epoch)
        except DataError:
            of_epoch = stones.of_epoch(file.epoch)
            return file, True, of_epoch is not None and holds_any(KeySearch(of_epoch.erased_on(file.day)), path)

    seen = in_threads(look, known.staged)
    days = [file.day for file in known.staged]
    if any(is_erased for _, _, is_erased in seen):
        held = DayRange(min(days), max(days))
        report.find(
            "erased",
            f"{STAGING} {day_range_text(held)}",
            "holds a user whose erasure is complete",
            repair=rebuild_command(held),
        )
    with looking.workspace.ledger.read() as connection:
        for name in sorted({file.batch for file, is_damaged, _ in seen if is_damaged}):
            batch = batches.find(connection, name)
            can_go = batch is not None and not batch.is_folded
            report.find(
                "damaged",
                f"{STAGING} batch {name}",
                "a staged file is missing or does not hold the bytes that the ledger recorded",
                repair=f"dpdau discard-batch {name}, then ingest its source again"
                if can_go
                else "dpdau restore --lake",
            )


def _report_unknown(workspace: Workspace, known: KnownFiles, erased: AppliedErasures, report: Report) -> None:
    """Reports files of lake/ and staging/ that no row names."""
    lake = workspace.lake
    named = {lake.staging_path(file.day, batch=file.batch, epoch=file.epoch) for file in known.staged}
    for row in known.rows.values():
        named.update(own_files(workspace, row))
    named.update(lake.root / "lake" / name for name in OWN_FILES)
    orphans: dict[str, list[Path]] = {}
    for path in _files_below(lake.root / "lake", lake.root / "staging"):
        if path in named:
            continue
        kind = _partition_kind(lake, path)
        if kind is not None:
            orphans.setdefault(kind, []).append(path)
            continue
        is_temporary = TEMPORARY_MARK in path.name
        place = _shown(lake, path, erased)
        if holds_any(erased.search, path):
            report.find("erased", place, HOLDS, repair=_removal(path, known))
        elif is_temporary:
            report.find("leftover", place, "a file in waiting that nobody waits for", repair=_removal(path, known))
        else:
            report.find("unknown", place, "no row of the ledger names this file", repair=_removal(path, known))
    for kind, paths in sorted(orphans.items()):
        is_erased = any(holds_any(_erased_on_its_day(path, erased), path) for path in paths)
        report.find(
            "erased" if is_erased else "unknown",
            kind,
            "holds the pseudonym of an erased user, in files that no row names"
            if is_erased
            else "no row of the ledger names some of these files",
            repair=rebuild_command(known.days),
        )


def _erased_on_its_day(path: Path, erased: AppliedErasures) -> KeySearch:
    """A search for whoever is erased on the day that the file's folder names; for all where it names none."""
    try:
        day = date.fromisoformat(path.parent.name.removeprefix("day="))
    except ValueError:
        return erased.search
    stones = [erased.completed.of_epoch(epoch) for epoch in erased.completed.epochs]
    return KeySearch(np.concatenate([np.empty(0, np.uint64), *(one.erased_on(day) for one in stones if one)]))


def _removal(path: Path, known: KnownFiles) -> str:
    return rebuild_command(known.days) if TEMPORARY_MARK in path.name else remove_command(path)


def _partition_kind(lake: Lake, path: Path) -> str | None:
    """The kind of a file that lies where `rebuild` looks for files to remove; None for any other."""
    parts = path.relative_to(lake.root).parts
    if path.suffix != ".parquet" or path.name.startswith("."):
        return None
    if len(parts) == 3 and parts[0] == STAGING and parts[1].startswith("day="):
        return STAGING
    is_partition = len(parts) == 4 and parts[0] == "lake" and parts[1] in ASSETS and parts[2].startswith("day=")
    return parts[1] if is_partition else None


def _report_temporary(lake: Lake, erased: AppliedErasures, report: Report) -> None:
    """Reports what killed processes left below tmp/; what living ones have there is theirs."""
    dead, is_in_use = lake.leftovers()
    for entry in dead:
        files = [entry] if not entry.is_dir() else list(_files_below(entry))
        place = _shown(lake, entry, erased)
        if any(holds_any(erased.search, path) for path in files):
            report.find("erased", place, HOLDS, repair="dpdau flush-deletes")
        else:
            report.find("leftover", place, "a killed process left this", repair="dpdau flush-deletes")
    if is_in_use:
        report.note(AT_WORK)


def _shown(lake: Lake, path: Path, erased: AppliedErasures) -> str:
    """The path relative to DATA_DIR, or its folder when the name itself is a pseudonym."""
    relative = path.relative_to(lake.root)
    if erased.search.is_in_bytes(str(relative).encode("utf-8", "surrogateescape")):
        return f"{relative.parts[0]}/ (the file's name is the pseudonym)"
    return str(relative)


def _files_below(*folders: Path) -> Iterator[Path]:
    """Every file below some folders, in order."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
