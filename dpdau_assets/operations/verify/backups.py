"""Verifying backups: each holds the bytes its manifest names, and nobody whose erasure was complete when it was made.

Belongs here: the copies below backups/, and until when they may hold erased users. Does not belong here: making,
restoring and removing them (`storage.backups`). What was complete when a copy was made is what a copy of the ledger of
that moment, or of an earlier one, says: tombstones are linked to no request, so the present ledger cannot tell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.errors import DataError, StorageError
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.operations.verify.findings import (
    AT_WORK,
    BACKUP,
    HOLDS,
    Repair,
    Report,
    removal_of,
    removal_then_backup_of,
)
from dpdau_assets.operations.verify.other_places import is_in_pages
from dpdau_assets.operations.verify.sketches import holds_erased_rows
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.backups.backups import Backup, Manifest
from dpdau_assets.storage.backups.unfinished_backups import place_of
from dpdau_assets.storage.disk.durable import TEMPORARY_MARK
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.journal.lines import read
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_assets.storage.lake.layout import DAY_MARK, KEYS_SUFFIX, LOCK, WINDOWS
from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import ErasureRequest, Tombstones, to_unsigned
from dpdau_assets.storage.ledger.ledger import parse_time
from dpdau_assets.storage.scan.byte_search import KeySearch
from dpdau_assets.storage.scan.sqlite_pages import pages_outside_table

"""Held by a backup that is being made."""


@dataclass(frozen=True, slots=True, repr=False)
class _Copied:
    """The tombstones of a copied ledger (sensitive; prints as nothing).

    Attributes:
        root: Where their table starts.
        complete: Those of requests that were complete, by epoch.
    """

    root: int | None
    complete: dict[int, Tombstones]

    @classmethod
    def of(cls, path: Path) -> _Copied:
        """What the copy at `path` holds."""
        query = "SELECT epoch, user_key, through_day FROM erasure_log WHERE pending = 0"
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'erasure_log'").fetchone()
            rows = connection.execute(query).fetchall()
        epochs = np.array([row[0] for row in rows], np.int64)
        keys = to_unsigned(np.array([row[1] for row in rows], np.int64))
        through = np.array([row[2] for row in rows], "datetime64[D]")
        order = np.argsort(keys)
        epochs, keys, through = epochs[order], keys[order], through[order]
        complete = {int(one): Tombstones(keys[epochs == one], through[epochs == one]) for one in np.unique(epochs)}
        return cls(root[0] if root else None, complete)

    @property
    def search(self) -> KeySearch:
        """A search for all of them."""
        return _search_for(self.complete.values())


def _search_for(tombstones: Iterable[Tombstones | None]) -> KeySearch:
    return KeySearch(np.concatenate([np.empty(0, np.uint64), *(one.keys for one in tombstones if one is not None)]))


def verify_backups(workspace: Workspace, report: Report) -> None:
    """Reports copies that cannot be restored from, are past their date, or hold somebody who was erased before them.

    Raises:
        StorageError: A file cannot be read.
    """
    folder = workspace.lake.backups
    if not folder.is_dir():
        return
    copies = backups.known(folder)
    _report_others(folder, {copy.path for copy in copies}, report)
    ledgers = {one.path: _Copied.of(one.path) for one in copies if not one.is_lake and _is_intact(one, report)}
    now = workspace.now()
    line = max((seq for seq, _, _ in _completions(workspace)), default=None) if _has_lakes(copies) else None
    for copy in copies:
        if copy.path.exists() and parse_time(copy.manifest.expires_at) <= now:
            report.find("backup", _place(copy), "it is past its date and still there", repair=BACKUP)
        if copy.path in ledgers:
            known = ledgers[copy.path]
            search = known.search
            if search and is_in_pages(search, pages_outside_table(copy.path, root=known.root).database):
                _report_erased(copy, report)
        elif copy.is_lake and _is_intact(copy, report):
            tombstones = _complete_before(workspace, copy, line, copies, ledgers)
            listed = backups.listed_files(copy)
            others = [path for path in sorted(copy.path.rglob("*")) if path.is_file() and path not in listed]
            search = _search_for(tombstones.of_epoch(epoch) for epoch in tombstones.epochs)
            if (tombstones and _holds_erased(listed, tombstones)) or any(holds_any(search, path) for path in others):
                _report_erased(copy, report)
            elif others:
                report.find("backup", _place(copy), "it holds files that its list does not name", repair=_again(copy))


def last_expiry(workspace: Workspace, request: ErasureRequest) -> str | None:
    """When the last copy made before a complete request was complete expires; None when there is none."""
    done = [seq for seq, upto, at in _completions(workspace) if upto >= request.seq and at == request.completed_at]
    copies = (one.manifest for one in backups.known(workspace.lake.backups))
    older = (one for one in copies if _is_older(one, max(done, default=None), str(request.completed_at)))
    return max((one.expires_at for one in older), default=None)


def _completions(workspace: Workspace) -> list[tuple[int, int, str]]:
    """Every completion that the journal still holds: its line, the last request it completed, and its time."""
    lines = read(workspace.lake.journal_folder, workspace.settings.journal_mirror).lines
    found = ((line.seq, entry) for line in lines for entry in line.document()["notes"])
    return [(seq, entry["upto"], entry["completed_at"]) for seq, entry in found if entry["note"] == "erasure_completed"]


def _is_older(copy: Manifest, line: int | None, completed_at: str) -> bool:
    """Whether a copy was made before a completion: in the journal's order where it holds both, for clocks go back."""
    return copy.created_at <= completed_at if line is None else copy.journal_seq < line


def _place(copy: Backup) -> str:
    return f"backups/{copy.path.name}"


def _again(copy: Backup) -> Repair:
    return removal_then_backup_of(copy.path, is_lake=copy.is_lake)


def _report_erased(copy: Backup, report: Report) -> None:
    report.find("erased", _place(copy), f"{HOLDS}, complete before it was made", repair=_again(copy))


def _is_intact(copy: Backup, report: Report) -> bool:
    """Whether a copy can be restored from; reports one that cannot. One that went meanwhile is none."""
    if not copy.path.exists():
        return False
    try:
        is_intact = backups.is_intact(copy)
    except (DataError, ValueError):
        is_intact = not copy.path.exists()
    if not is_intact:
        report.find("backup", _place(copy), "it is damaged: nothing can be restored from it", repair=_again(copy))
    return is_intact


def _report_others(folder: Path, known: set[Path], report: Report) -> None:
    """Reports what lies in backups/ and is no copy: without its manifest, or left by a backup that was killed."""
    manifests = {path.with_suffix(".json") for path in known}
    try:
        with FileLock(folder / LOCK, timeout_seconds=0):
            others = sorted(path for path in folder.iterdir() if path not in known | manifests)
    except StorageError:
        report.note(AT_WORK)
        return
    waiting = {place_of(path).with_suffix("") for path in others if _is_left(path)}
    for path in others:
        if path.name == LOCK:
            continue
        is_left = _is_left(path)
        report.find(
            "leftover" if is_left else "backup",
            f"backups/{path.name}",
            "a killed backup left this" if is_left else "it is no backup, or has no manifest that can be read",
            repair=BACKUP if is_left or path.with_suffix("") in waiting else removal_of(path),
        )


def _has_lakes(copies: Iterable[Backup]) -> bool:
    return any(copy.is_lake for copy in copies)


def _is_left(path: Path) -> bool:
    """Whether a name is that of an unfinished copy."""
    return path.name.startswith(".") and TEMPORARY_MARK in path.name


def _complete_before(
    workspace: Workspace, copy: Backup, line: int | None, copies: list[Backup], ledgers: dict[Path, _Copied]
) -> ErasedKeys:
    """The tombstones that were complete when a copy of the lake was made.

    Those of the newest copy of the ledger that is not newer; and all of the present, when no request was completed
    since. `line` is that of the last completion in the journal.
    """
    with workspace.ledger.read() as connection:
        last = max((one.completed_at or "" for one in erasures.history(connection)), default="")
        if last and not _is_older(copy.manifest, line, last) and not erasures.pending(connection):
            epochs = erasures.epochs(connection)
            return ErasedKeys({epoch: erasures.tombstones(connection, epoch) for epoch in epochs})
    seq = copy.manifest.journal_seq
    older = [one for one in copies if one.path in ledgers and one.manifest.journal_seq <= seq]
    return ErasedKeys(ledgers[older[0].path].complete) if older else ErasedKeys({})


def _holds_erased(files: Iterable[Path], tombstones: ErasedKeys) -> bool:
    """Whether a file of a copy of the lake holds a pseudonym erased on its day."""
    for path in sorted(path for path in files if path.suffix == KEYS_SUFFIX):
        day = date.fromisoformat(path.parent.name.removeprefix(DAY_MARK))
        if path.stem == WINDOWS:
            if holds_erased_rows(path, tombstones):
                return True
            continue
        epoch = int(path.stem.rsplit("e", 1)[-1])
        if tombstones.concerns(day, epoch=epoch) and tombstones.has_any(read_keys(path), day=day, epoch=epoch):
            return True
    return False
