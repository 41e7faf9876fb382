"""Backing up: a checked copy of the ledger, and of the data when asked, while others go on.

Belongs here: when copies are made and old ones go. Their form belongs to `storage.backups`, going back to one to
`restore`. Secrets are never copied: without them nobody can make a pseudonym again, so keep a `dpdau salts export`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.operations.session.publication import recover
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.backups.backups import Backup, Terms
from dpdau_assets.storage.backups.unfinished_backups import settle_unfinished
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.journal.journal import anchor_of
from dpdau_assets.storage.lake.layout import RAW_EVENTS
from dpdau_assets.storage.ledger import batches, partitions

LOCK_SECONDS = 600
SURELY_DEAD = timedelta(days=1)
"""What waits in backups/ for longer belongs to no living process."""

JITTER = timedelta(hours=1)
"""A daily backup is never on time to the second: what expires before the next one goes with this one."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup did (trusted side).

    Attributes:
        made: The copies made now, the ledger's first.
        removed: Names of copies past their date that went.
        journal_files_dropped: Journal files that no copy needs any more.
    """

    made: tuple[Backup, ...]
    removed: tuple[str, ...]
    journal_files_dropped: int

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        return {
            "made": [
                {
                    "path": str(one.path),
                    "created_at": one.manifest.created_at,
                    "expires_at": one.manifest.expires_at,
                    "journal_seq": one.manifest.journal_seq,
                }
                for one in self.made
            ],
            "removed": list(self.removed),
            "journal_files_dropped": self.journal_files_dropped,
        }


def backup(workspace: Workspace, *, with_lake: bool = False) -> BackupReport:
    """Copies the ledger, and with `with_lake` raw events, unions and staging; then removes what is past its date.

    Guarantee: each copy is one state, checked by SQLite, and whole under its name or not there. Nobody waits for the
    copy of the ledger; whoever replaces key files waits for that of the lake. A copy made after an erasure was complete
    does not hold the erased. Copies of the same day replace each other.

    Args:
        workspace: The open data folder.
        with_lake: Whether the data is copied too.

    Raises:
        DataError: The ledger is damaged; nothing was replaced.
        StorageError: The disk, the lock or the ledger refused.
    """
    lake, now = workspace.lake, workspace.now()
    with ExitStack() as held:
        if with_lake:
            held.enter_context(lake.lock())
            recover(workspace)
        held.enter_context(FileLock(lake.backups_lock_path, timeout_seconds=LOCK_SECONDS))
        settle_unfinished(lake.backups)
        made = _copies(workspace, _terms(workspace, now), with_lake=with_lake)
    removed = remove_expired_backups(workspace, now=now + JITTER)
    folders = [lake.journal_folder, *([mirror] if (mirror := workspace.settings.journal_mirror) else [])]
    dropped = backups.drop_old_journal(folders, backups.known(lake.backups))
    return BackupReport(tuple(made), removed, dropped)


def _copies(workspace: Workspace, terms: Terms, *, with_lake: bool) -> list[Backup]:
    lake = workspace.lake
    made = [backups.copy_ledger(workspace.ledger, lake.backups, terms)]
    if with_lake:
        with workspace.ledger.read() as connection:
            anchor, batch_seq = anchor_of(connection), batches.last_seq(connection)
        made.append(backups.copy_lake(lake.root, lake.backups, terms, anchor=anchor, batch_seq=batch_seq))
    return made


def remove_expired_backups(workspace: Workspace, *, now: datetime | None = None) -> tuple[str, ...]:
    """Removes copies older than BACKUP_RETENTION_DAYS; their names.

    Args:
        workspace: The open data folder.
        now: The time, the workspace's by default.

    Raises:
        StorageError: The disk refused.
    """
    folder, moment = workspace.lake.backups, (now or workspace.now()).astimezone(UTC)
    settle_unfinished(folder, before=datetime.now(UTC) - SURELY_DEAD)
    return tuple(path.name for path in backups.remove_expired(folder, now=moment))


def _terms(workspace: Workspace, now: datetime) -> Terms:
    with workspace.ledger.read() as connection:
        first = first_held_day(connection)
    window = workspace.settings.mau_window_days
    keyed = workspace.salts.calendar.keyed_epochs(first, window).start if first else None
    return Terms(
        now=now,
        retention_days=workspace.settings.backup_retention_days,
        ledger_id=workspace.ledger_id,
        first_day=first,
        lowest_epoch=None if keyed is None else max(keyed, workspace.salts.lowest_epoch),
    )


def first_held_day(connection: Connection) -> date | None:
    """The first day of which raw events or staged files are held, None when there is none."""
    held = [*batches.staged_days(connection)[:1], *partitions.days_with(connection, RAW_EVENTS)[:1]]
    return min(held, default=None)
