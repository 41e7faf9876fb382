"""Verifying that nothing else lies in the lake: foreign files, orphans, and what killed processes left.

Belongs here: files of lake/, staging/ and tmp/ that no row of the ledger names. Hold the lake lock. The named ones
belong to `verify.lake`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.operations.verify.findings import (
    AT_WORK,
    FLUSH_DELETES,
    HOLDS,
    AppliedErasures,
    Repair,
    Report,
    rebuild_of,
    removal_of,
)
from dpdau_assets.operations.verify.lake import KnownFiles, own_files
from dpdau_assets.storage.disk.durable import TEMPORARY_MARK
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import ASSETS, DAY_MARK, KEYS_SUFFIX, LAKE, LAKE_FILES, LOCK, STAGING, day_of
from dpdau_assets.storage.scan.byte_search import KeySearch


def verify_orphans(workspace: Workspace, known: KnownFiles, erased: AppliedErasures, report: Report) -> None:
    """Reports files of lake/ and staging/ that no row names, and what killed processes left below tmp/.

    Args:
        workspace: The open data folder; its lake lock is held.
        known: What the ledger says is there.
        erased: What must be gone.
        report: Takes the findings.

    Raises:
        StorageError: A file cannot be read.
    """
    _report_unknown(workspace, known, erased, report)
    _report_temporary(workspace.lake, erased, report)


def _report_unknown(workspace: Workspace, known: KnownFiles, erased: AppliedErasures, report: Report) -> None:
    """Reports files of lake/ and staging/ that no row names."""
    lake = workspace.lake
    named = {lake.staging_path(file.day, batch=file.batch, epoch=file.epoch) for file in known.staged}
    for row in known.rows.values():
        named.update(own_files(workspace, row))
    named.update(lake.partitions / name for name in LAKE_FILES)
    for path in (*(lake.partitions / name for name in LAKE_FILES), lake.temporary_root / LOCK):
        if holds_any(erased.search, path):
            repair = removal_of(path, before="stop everything that works in the folder, then ")
            report.find("erased", str(path.relative_to(lake.root)), HOLDS, repair=repair)
    orphans: dict[str, list[Path]] = {}
    for path in _files_below(lake.partitions, lake.staging):
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
            report.find(
                "leftover", place, "a temporary file that no running process owns", repair=_removal(path, known)
            )
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
            repair=rebuild_of(known.days),
        )


def _erased_on_its_day(path: Path, erased: AppliedErasures) -> KeySearch:
    """A search for whoever is erased on the day that the file's folder names; for all where it names none."""
    day = day_of(path.parent.name)
    if day is None:
        return erased.search
    tombstones = [erased.completed.of_epoch(epoch) for epoch in erased.completed.epochs]
    return KeySearch(np.concatenate([np.empty(0, np.uint64), *(one.erased_on(day) for one in tombstones if one)]))


def _removal(path: Path, known: KnownFiles) -> Repair:
    return rebuild_of(known.days) if TEMPORARY_MARK in path.name else removal_of(path)


def _partition_kind(lake: Lake, path: Path) -> str | None:
    """The kind of a file that lies where `rebuild` looks for files to remove; None for any other."""
    parts = path.relative_to(lake.root).parts
    if path.suffix != KEYS_SUFFIX or path.name.startswith("."):
        return None
    if len(parts) == 3 and parts[0] == STAGING and parts[1].startswith(DAY_MARK):
        return STAGING
    is_partition = len(parts) == 4 and parts[0] == LAKE and parts[1] in ASSETS and parts[2].startswith(DAY_MARK)
    return parts[1] if is_partition else None


def _report_temporary(lake: Lake, erased: AppliedErasures, report: Report) -> None:
    """Reports what killed processes left below tmp/; what living ones have there is theirs."""
    dead, is_in_use = lake.unowned_temporary()
    for entry in dead:
        files = [entry] if not entry.is_dir() else list(_files_below(entry))
        place = _shown(lake, entry, erased)
        if any(holds_any(erased.search, path) for path in files):
            report.find("erased", place, HOLDS, repair=FLUSH_DELETES)
        else:
            report.find("leftover", place, "a killed process left this", repair=FLUSH_DELETES)
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
