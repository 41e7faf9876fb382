"""Backups: copies of the ledger and of the lake below `backups/`, each with a manifest; never a secret.

Belongs here: making, checking, listing and removing copies, and removing journal files that no copy needs. When that
happens belongs to `operations.backup`, restoring a copy to `operations.restore`, and the files that a killed backup
left to `unfinished_backups`.

    backups/ledger-20260301.sqlite   ledger-20260301.json
    backups/lake-20260301/           raw_events/ mau_unions/ staging/ files.json manifest.json

A copy appears complete under its name or not at all; a second copy of the same day replaces the first. Files that can
be rebuilt from raw events (live users, sketches) are not copied.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.errors import DataError
from dpdau_assets.storage.disk.durable import (
    file_digest,
    has_digest,
    make_durable,
    make_names_durable,
    remove,
    replace,
    temporary_name,
    write_bytes,
    write_new,
)
from dpdau_assets.storage.disk.os_errors import make_folder, storage_error, storage_errors
from dpdau_assets.storage.journal.lines import Anchor, files_in, last_line
from dpdau_assets.storage.lake.layout import FILES_OF_DAYS, LAKE, MAU_UNIONS, RAW_EVENTS, STAGING
from dpdau_assets.storage.ledger.ledger import DIGEST_KEY, SEQ_KEY, Ledger, parse_time, time_text

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LAKE_PARTS = {**{asset: f"{LAKE}/{asset}" for asset in (RAW_EVENTS, MAU_UNIONS)}, STAGING: STAGING}
"""The contents of a copy of the lake, by their names in the copy and in the data folder."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a copy (trusted side; it contains no secret and no pseudonym).

    Attributes:
        created_at: UTC ISO time.
        expires_at: UTC ISO time from which on the next backup removes it.
        ledger_id: The ledger it belongs to.
        journal_seq: The last line of the journal that it holds.
        journal_digest: That line's digest.
        batch_seq: The newest batch that it holds.
        sha256: Digest of the ledger's copy; for a copy of the lake, digest of the list of files.
        first_day: First day held, None when no day was.
        lowest_epoch: The lowest salt epoch whose secret its days need, None when no day was held.
    """

    created_at: str
    expires_at: str
    ledger_id: str
    journal_seq: int
    journal_digest: str
    batch_seq: int
    sha256: str
    first_day: str | None
    lowest_epoch: int | None

    @property
    def anchor(self) -> Anchor:
        """The last line of the journal that the copy holds."""
        return Anchor(self.journal_seq, self.journal_digest)


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy: a file of SQLite, or a folder for the lake, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def is_lake(self) -> bool:
        """Returns whether it is a copy of the lake."""
        return self.path.suffix != ".sqlite"


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of a new copy's manifest that the caller decides."""

    now: datetime
    retention_days: int
    ledger_id: str
    first_day: date | None
    lowest_epoch: int | None

    def manifest(self, *, anchor: Anchor, batch_seq: int, sha256: str) -> Manifest:
        """The manifest of a copy with that content."""
        return Manifest(
            created_at=time_text(self.now),
            expires_at=time_text(self.now + timedelta(days=self.retention_days)),
            ledger_id=self.ledger_id,
            journal_seq=anchor.seq,
            journal_digest=anchor.digest,
            batch_seq=batch_seq,
            sha256=sha256,
            first_day=None if self.first_day is None else self.first_day.isoformat(),
            lowest_epoch=self.lowest_epoch,
        )


def copy_ledger(ledger: Ledger, folder: Path, terms: Terms) -> Backup:
    """Copies the ledger while others read and write, checks the copy, and puts it in place durably.

    Args:
        ledger: The ledger.
        folder: `DATA_DIR/backups`.
        terms: What the manifest says.

    Raises:
        DataError: The copy is not intact, so the ledger is damaged; no earlier copy was replaced.
        StorageError: The copy cannot be written.
    """
    make_folder(folder, mode=FOLDER_MODE)
    path = folder / f"ledger-{terms.now.astimezone(UTC):%Y%m%d}.sqlite"
    place = path.with_suffix(".json")
    temporary, pending = folder / temporary_name(path), folder / temporary_name(place)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
        ledger.copy_to(temporary)
        fault = fault_in(temporary)
        if fault:
            raise DataError(f"the ledger is damaged: its copy failed {fault}", hint="run `dpdau restore`")
        anchor, batch_seq = _place_of(temporary)
        manifest = terms.manifest(anchor=anchor, batch_seq=batch_seq, sha256=file_digest(temporary))
        write_new(pending, json.dumps(asdict(manifest), indent=1).encode() + b"\n", mode=FILE_MODE)
        make_durable([temporary, pending])
        remove([place])  # so between the two renames no manifest stands beside another copy's file
        replace(temporary, path)
        replace(pending, place)
        make_durable([path, place])
    except OSError as error:
        raise storage_error(error, path, "write") from error
    finally:
        for left in (temporary, pending):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return Backup(path, manifest)


def copy_lake(root: Path, folder: Path, terms: Terms, *, anchor: Anchor, batch_seq: int) -> Backup:
    """Copies raw events, unions and staging; hold the lake lock.

    Args:
        root: DATA_DIR.
        folder: `DATA_DIR/backups`.
        terms: What the manifest says.
        anchor: The ledger's last line of the journal.
        batch_seq: The ledger's newest batch.

    Raises:
        StorageError: The copy cannot be written; no earlier copy was replaced.
    """
    make_folder(folder, mode=FOLDER_MODE)
    path = folder / f"lake-{terms.now.astimezone(UTC):%Y%m%d}"
    temporary, older = folder / temporary_name(path), folder / temporary_name(path)
    try:
        files: dict[str, str] = {}
        temporary.mkdir(mode=FOLDER_MODE)
        for name, part in LAKE_PARTS.items():
            for source in sorted((root / part).glob(FILES_OF_DAYS)):
                target = temporary / name / source.parent.name / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                files[str(target.relative_to(temporary))] = file_digest(target)
        listed = json.dumps(files, indent=0, sort_keys=True).encode()
        list_digest = write_bytes(temporary / "files.json", listed)
        manifest = terms.manifest(anchor=anchor, batch_seq=batch_seq, sha256=list_digest)
        write_bytes(temporary / "manifest.json", json.dumps(asdict(manifest), indent=1).encode())
        make_durable([found for found in temporary.rglob("*") if found.is_file()])
        make_names_durable({found for found in temporary.rglob("*") if found.is_dir()} | {temporary})
        if path.exists():
            replace(path, older)
        replace(temporary, path)
        make_names_durable({folder})
    except OSError as error:
        raise storage_error(error, path, "write") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(older, ignore_errors=True)
    return Backup(path, manifest)


def known(folder: Path) -> list[Backup]:
    """The copies whose manifests can be read, newest first; copies of the ledger and of the lake."""
    found = []
    for manifest in [*folder.glob("ledger-*.json"), *folder.glob("lake-*/manifest.json")]:
        path = manifest.parent if manifest.name == "manifest.json" else manifest.with_suffix(".sqlite")
        content = manifest_in(manifest)
        if content is not None:
            found.append(Backup(path, content))
    return sorted(found, key=lambda one: (one.manifest.created_at, one.path.name), reverse=True)


def read_manifest(path: Path) -> Backup:
    """The copy at `path`, with the manifest beside it.

    Raises:
        DataError: There is no such pair.
    """
    place = path / "manifest.json" if path.is_dir() else path.with_suffix(".json")
    manifest = manifest_in(place)
    if manifest is None:
        raise DataError(
            f"{path} is no backup: its manifest {place.name} is missing or damaged",
            hint="name a file backups/ledger-*.sqlite",
        )
    return Backup(path, manifest)


def manifest_in(path: Path) -> Manifest | None:
    """Returns the manifest in a file, None when it is missing or damaged."""
    with suppress(OSError, ValueError, TypeError):
        return Manifest(**json.loads(path.read_bytes()))
    return None


def is_intact(backup: Backup) -> bool:
    """Returns whether a copy holds the bytes that its manifest names, and SQLite finds no fault in them."""
    if backup.is_lake:
        return _is_intact_lake(backup)
    if not has_digest(backup.path, backup.manifest.sha256):
        return False
    return fault_in(backup.path) is None


def _is_intact_lake(backup: Backup) -> bool:
    listed = backup.path / "files.json"
    if not has_digest(listed, backup.manifest.sha256):
        return False
    files: dict[str, str] = json.loads(listed.read_bytes())
    return all(has_digest(backup.path / name, digest) for name, digest in files.items())


def listed_files(backup: Backup) -> set[Path]:
    """The files of an intact copy of the lake: those that its list names, the list and the manifest."""
    names: dict[str, str] = json.loads((backup.path / "files.json").read_bytes())
    return {backup.path / name for name in (*names, "files.json", "manifest.json")}


def fault_in(path: Path) -> str | None:
    """Returns the check of SQLite that a separate database file fails; None when the file is intact."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
                return "the integrity check"
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                return "the check of references"
            return None
    except sqlite3.Error:
        return "to open"


def remove_expired(folder: Path, *, now: datetime) -> list[Path]:
    """Removes the copies that have passed their date and returns their paths.

    Raises:
        StorageError: A file cannot be removed.
    """
    gone = [one.path for one in known(folder) if parse_time(one.manifest.expires_at) <= now]
    for path in gone:
        if path.suffix == ".sqlite":
            remove([path, path.with_suffix(".json")])
        else:
            _remove_folder(path)
    return gone


def _remove_folder(path: Path) -> None:
    with storage_errors(path, "remove"):
        shutil.rmtree(path)


def drop_old_journal(journal_folders: Iterable[Path], copies: Iterable[Backup]) -> int:
    """Removes the journal files whose lines are all held by every copy of ledger and lake; returns how many it removed.

    Args:
        journal_folders: The journal and its mirror.
        copies: All copies that may still be restored from.

    Raises:
        StorageError: A file cannot be removed.
    """
    oldest = min((one.manifest.journal_seq for one in copies), default=0)
    dropped = 0
    for folder in journal_folders:
        for path in files_in(folder)[:-1]:
            last = last_line(path)
            if last is None or last.seq >= oldest:
                break
            remove([path])
            dropped += 1
    return dropped


def _place_of(path: Path) -> tuple[Anchor, int]:
    """The last line of the journal and the newest batch that a copy of the ledger holds."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        facts: dict[str, Any] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        batch = connection.execute("SELECT max(seq) FROM batches").fetchone()[0]
    return Anchor(int(facts.get(SEQ_KEY, 0)), facts.get(DIGEST_KEY, "")), int(batch or 0)
