"""Finishes or removes the copies that killed backups left below `backups/`: complete ones are finished.

Belongs here: finishing such copies. Making copies belongs to `backups`. A copy takes its place by two renames. For the
ledger, the file is renamed first and then its manifest; for the lake, the older copy is moved out of the way first and
then the new one takes its place. A kill between the two renames leaves complete and durable files, and nothing in place
looks like an intact copy without being one.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dpdau_assets.errors import DataError
from dpdau_assets.storage.backups.backups import Backup, is_intact, manifest_in, read_manifest
from dpdau_assets.storage.disk.durable import (
    TEMPORARY_MARK,
    has_digest,
    make_durable,
    make_names_durable,
    remove,
    replace,
)
from dpdau_assets.storage.disk.os_errors import storage_errors


def settle_unfinished(folder: Path, *, before: datetime | None = None) -> None:
    """Finishes the complete copies among the pending ones and removes the others.

    Args:
        folder: `DATA_DIR/backups`.
        before: Only entries older than this are looked at; None for all, which requires the lock of the folder.

    Raises:
        StorageError: A file cannot be moved or removed.
    """
    for pending in _left(folder, "ledger-*.json", before):
        _finish_ledger(pending)
    copies = [copy for path in _left(folder, "lake-*", before) if (copy := _complete_copy(path)) is not None]
    for copy in sorted(copies, key=lambda one: one.manifest.created_at, reverse=True):
        _finish_lake(copy.path)
    for left in _left(folder, "*", before):
        if left.is_dir():
            with storage_errors(left, "remove"):
                shutil.rmtree(left)
        else:
            remove([left])


def place_of(pending: Path) -> Path:
    """The final path of a pending file."""
    return pending.with_name(pending.name.removeprefix(".").split(TEMPORARY_MARK)[0])


def _left(folder: Path, names: str, before: datetime | None) -> list[Path]:
    found = sorted(folder.glob(f".{names}{TEMPORARY_MARK}*"))
    return [path for path in found if before is None or path.stat().st_mtime < before.timestamp()]


def _finish_ledger(pending: Path) -> None:
    """Moves a manifest to its final path; if the copy that it names is pending as well, that copy is moved first."""
    place = place_of(pending)
    path, manifest = place.with_suffix(".sqlite"), manifest_in(pending)
    if manifest is None or place.exists():
        return
    for copy in (path, *sorted(path.parent.glob(f".{path.name}{TEMPORARY_MARK}*"))):
        if has_digest(copy, manifest.sha256):
            if copy != path:
                replace(copy, path)
            replace(pending, place)
            make_durable([path, place])
            return


def _complete_copy(pending: Path) -> Backup | None:
    """Returns the pending copy of a lake, or None if it is incomplete."""
    with suppress(DataError):
        copy = read_manifest(pending)
        if is_intact(copy):
            return copy
    return None


def _finish_lake(pending: Path) -> None:
    place = place_of(pending)
    if not place.exists():
        replace(pending, place)
        make_names_durable({place.parent})
