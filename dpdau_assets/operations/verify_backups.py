"""Verifying backups: each is the file its manifest names, and holds nobody whose erasure was complete when it was made.

Belongs here: the copies below backups/, and until when they may hold erased users. Does not belong here: making,
restoring and removing them. What was complete when a backup was made is what its own ledger says: the rows of a
request's tombstones are linked to nothing, so the present ledger cannot tell.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpdau_assets.operations.verification import HOLDS, Report, remove_command
from dpdau_assets.operations.verify_places import is_in_pages
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage.byte_search import KeySearch
from dpdau_assets.storage.erasures import Tombstones, to_unsigned
from dpdau_assets.storage.files import file_digest
from dpdau_assets.storage.sqlite_pages import foreign_pages

FOLDER = "backups"
AGAIN = "dpdau backup"


@dataclass(frozen=True, slots=True)
class Backup:
    """What the manifest of a backup says (public inside the trusted side).

    Attributes:
        manifest: The manifest's path.
        created_at: UTC ISO time.
        journal_seq: The last line of the journal that it holds.
        sha256: Digest of the ledger's copy; "" for a copy of the lake.
        expires_at: UTC ISO time from which on it is removed.
    """

    manifest: Path
    created_at: str
    journal_seq: int
    sha256: str
    expires_at: str

    @property
    def ledger(self) -> Path:
        """The copy of the ledger."""
        return self.manifest.with_suffix(".sqlite")


def known_backups(workspace: Workspace) -> list[Backup]:
    """The backups of the ledger whose manifests can be read, oldest first."""
    found = []
    for path in sorted((workspace.lake.root / FOLDER).glob("ledger-*.json")):
        try:
            document = json.loads(path.read_bytes())
            names = ("created_at", "journal_seq", "sha256", "expires_at")
            found.append(Backup(path, *(document[name] for name in names)))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda backup: backup.created_at)


def last_expiry(workspace: Workspace, completed_at: str) -> str | None:
    """When the last backup made before a request was complete expires; None when there is none."""
    return max((one.expires_at for one in known_backups(workspace) if one.created_at < completed_at), default=None)


def verify_backups(workspace: Workspace, report: Report) -> None:
    """Reports copies of the ledger that are damaged, or hold an erased pseudonym outside the table of tombstones.

    Raises:
        StorageError: A file cannot be read.
    """
    known = {backup.ledger: backup for backup in known_backups(workspace)}
    for path in sorted((workspace.lake.root / FOLDER).glob("ledger-*.sqlite")):
        place = f"{FOLDER}/{path.name}"
        backup = known.get(path)
        if backup is None or file_digest(path) != backup.sha256:
            message = "its manifest is missing or names other bytes: it cannot be restored from"
            report.find("backup", place, message, repair=f"{AGAIN}, then {remove_command(path)}")
            continue
        root, erased = _of_copy(path)
        search = KeySearch(np.concatenate([np.empty(0, np.uint64), *(stones.keys for stones in erased.values())]))
        if search and is_in_pages(search, foreign_pages(path, root=root).database):
            report.find("erased", place, HOLDS, repair=f"{AGAIN}, then {remove_command(path)}")


def _of_copy(path: Path) -> tuple[int | None, dict[int, Tombstones]]:
    """Where the tombstones of a copied ledger start, and those of requests that were complete in it, by epoch."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'erasure_log'").fetchone()
        query = "SELECT epoch, user_key, through_day FROM erasure_log WHERE pending = 0 ORDER BY epoch, user_key"
        rows = connection.execute(query).fetchall()
    stones = {}
    for epoch in {row[0] for row in rows}:
        own = [row for row in rows if row[0] == epoch]
        keys = to_unsigned(np.array([row[1] for row in own], np.int64))
        through = np.array([row[2] for row in own], "datetime64[D]")
        order = np.argsort(keys)
        stones[epoch] = Tombstones(keys[order], through[order])
    return (root[0] if root else None), stones
