"""What a restore starts from: the copies there are, the ledger in place, and which lines of the journal are missing.

Belongs here: looking and choosing, without changing anything. Replaying belongs to `restore`. A ledger in which SQLite
finds no fault may still contradict itself or its journal, by a hand or a disk: it is not started from either.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from dpdau_assets.errors import ConfigurationError, DataError, DpdauError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.verify.findings import Action, Report
from dpdau_assets.operations.verify.journal import verify_journal
from dpdau_assets.operations.verify.ledger import verify_ledger
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.backups.backups import Backup
from dpdau_assets.storage.journal.last_line import read_journal_end
from dpdau_assets.storage.journal.lines import START, Anchor, Gap, Line, Lines, read
from dpdau_assets.storage.lake.key_files import read_table
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import METRICS
from dpdau_assets.storage.ledger import releases
from dpdau_assets.storage.ledger.ledger import DIGEST_KEY, SEQ_KEY
from dpdau_assets.storage.scan.byte_search import KeySearch


@dataclass(frozen=True, slots=True)
class Present:
    """The ledger in place: whether it is intact, and the last line of the journal it knows of."""

    is_intact: bool
    anchor: Anchor
    ledger_id: str | None


NOT_THERE = Present(False, Anchor(), None)


@dataclass(frozen=True, slots=True)
class Base:
    """What the journal is replayed onto."""

    name: str
    path: Path | None
    anchor: Anchor
    since: str


class RestoreSource:
    """What there is to restore from.

    Args:
        settings: All settings.
        lake: The data folder.
        ledger: The file of the ledger.
        ledger_id: The ledger that the files belong to, None when it is not known.

    Attributes:
        present: The ledger in place.
        known_seq: The last line of the journal that anything in the folder knows of.
    """

    def __init__(self, settings: Settings, lake: Lake, ledger: Path, *, ledger_id: str | None) -> None:
        self._settings = settings
        self._lake = lake
        self._ledger = ledger
        self._mirror = settings.journal_mirror
        self._ledger_id = ledger_id
        found = look_at(ledger)
        self.present = found if ledger_id in (None, found.ledger_id) else NOT_THERE
        self.known_seq = max(self.present.anchor.seq, read_journal_end(lake.journal_end_path, ledger_id=ledger_id))

    def choose(self, source: Path | None, *, with_lake: bool) -> Base:
        """What the journal is replayed onto.

        Args:
            source: The copy asked for, None for the best there is.
            with_lake: Whether the data is put back too, so that a ledger that lacks nothing will do.

        Raises:
            ConfigurationError: The present ledger is intact and lacks nothing, or the copy is another ledger's.
            DataError: No copy is intact.
        """
        present = self.present
        here = Base("the present ledger", self._ledger, present.anchor, "")
        is_ours = present.is_intact and self._ledger_id in (None, present.ledger_id)
        if is_ours and self._is_contradicted():
            return self._from_backup(backups.read_manifest(source)) if source else self._from_the_beginning()
        if is_ours and (source is not None or not with_lake):
            behind = read(self._lake.journal_folder, self._mirror, after=present.anchor).lines
            last = behind[-1].seq if behind else present.anchor.seq
            if last in (present.anchor.seq, present.anchor.seq + 1) and self.known_seq <= last:  # +1: what a crash left
                raise ConfigurationError(
                    f"the ledger {self._ledger} is intact and lacks nothing of its journal: nothing is to be restored",
                    hint="`dpdau restore --lake` puts the data back; to go back to a copy, move the ledger away first",
                )
        if source is not None:
            return self._from_backup(backups.read_manifest(source))
        return here if is_ours else self._from_newest()

    def _is_contradicted(self) -> bool:
        """Whether rows of the present ledger contradict each other or the journal, which only a restore repairs."""
        with suppress(DpdauError):
            workspace = open_workspace(self._settings, create=False)
            try:
                report = Report()
                verify_ledger(workspace, report, is_full=False)
                verify_journal(workspace, KeySearch(np.empty(0, np.uint64)), report)
            finally:
                workspace.close()
            return any(finding.repair.action is Action.RESTORE for finding in report.findings)
        return False

    def _from_the_beginning(self) -> Base:
        """The journal alone where it is whole, for a copy may hold the rows that are wrong; else the newest copy."""
        if not read(self._lake.journal_folder, self._mirror).gaps:
            with suppress(DataError):
                return self._from_nothing()
        return self._from_newest()

    def _from_newest(self) -> Base:
        for backup in backups.known(self._lake.backups):
            if not backup.is_lake and self._fits(backup) and backups.is_intact(backup):
                return _base_of(backup)
        return self._from_nothing()

    def _fits(self, backup: Backup) -> bool:
        return self._ledger_id in (None, backup.manifest.ledger_id)

    def _from_backup(self, backup: Backup) -> Base:
        if not self._fits(backup):
            raise ConfigurationError(f"{backup.path} is a copy of another ledger", hint="name a copy of this one")
        if backup.is_lake or not backups.is_intact(backup):
            raise DataError(
                f"{backup.path} is not an intact copy of a ledger", hint="leave --from out: restore looks for one"
            )
        return _base_of(backup)

    def _from_nothing(self) -> Base:
        lines = read(self._lake.journal_folder, self._mirror).lines
        first = lines[0].document()["notes"] if lines and lines[0].previous == START else []
        if not any(document["note"] == "created" for document in first):
            raise DataError(
                f"no copy in {self._lake.backups} is intact, and the journal does not go back to the ledger's creation",
                hint="bring a copy and its manifest from elsewhere, then `dpdau restore --from FILE`",
            )
        return Base("the journal alone", None, Anchor(), "")


def _base_of(backup: Backup) -> Base:
    return Base(backup.path.name, backup.path, backup.manifest.anchor, backup.manifest.created_at)


def look_at(path: Path) -> Present:
    """The ledger in place, as far as it can be read."""
    if not path.is_file() or path.stat().st_size == 0:
        return NOT_THERE
    try:
        with closing(sqlite3.connect(path)) as connection:
            facts: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    except sqlite3.Error:
        return NOT_THERE
    anchor = Anchor(int(facts.get(SEQ_KEY, 0)), facts.get(DIGEST_KEY, START))
    ledger_id = facts.get("ledger_id")
    return Present(backups.fault_in(path) is None and ledger_id is not None, anchor, ledger_id)


def is_published_beyond(connection: Connection, lake: Lake) -> bool:
    """Whether the exported file shows a value that the restored ledger lacks: then the journal lost its end.

    Args:
        connection: A transaction of the restored ledger.
        lake: The data folder; a file that is missing or damaged shows nothing.

    Raises:
        StorageError: The file cannot be read.
    """
    path = lake.root / METRICS
    if not path.exists():
        return False
    with suppress(DataError):
        table = read_table(path)
        if {"metric", "day", "revision"} <= set(table.schema.names):
            shown = zip(*(table.column(name).to_pylist() for name in ("metric", "day", "revision")), strict=True)
            kept = releases.releases_between(connection, all_revisions=True)
            return not set(shown) <= {(one.metric, one.day, one.revision) for one in kept}
    return False


def find_gaps(lines: Lines, base: Base, *, known_seq: int) -> tuple[Gap, ...]:
    """Where lines are missing: inside, before the first, and up to the last that the lost ledger or a note knew of."""
    gaps = [
        Gap(gap.after, gap.since or base.since, gap.until) if gap.after == base.anchor.seq else gap
        for gap in lines.gaps
    ]
    last: Line | None = lines.lines[-1] if lines.lines else None
    if last is None and not lines.starts_at_anchor:
        gaps.append(Gap(base.anchor.seq, base.since, None))
    elif known_seq > (last.seq if last else base.anchor.seq):
        gaps.append(Gap(last.seq if last else base.anchor.seq, last.at if last else base.since, None))
    return tuple(gaps)
