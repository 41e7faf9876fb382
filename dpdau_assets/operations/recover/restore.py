"""Restoring: the newest good copy of the ledger, brought up to the journal's last line, over the files on disk.

    1  choose        a copy named, or the newest that is intact; the present ledger itself when it is intact but older
                     than its journal; nothing at all when the journal goes back to the ledger's creation
    2  replay        every line after it, in order, by number: identical or refused. Lines that are missing are a gap
    3  register      the key files on disk get their rows; what is made from raw events gets none
    4  erase         every erasure is pending again, so that nobody counts before all of them are applied
    5  swap          the new file takes the place of the old one at once, after a line in the journal that says so
    6  clean         all erasures are applied to all files, and files that no row names go

A process killed before 5 has changed nothing that the next attempt does not do again; after it, the next operation or
the next attempt applies the erasures. Does not belong here: what a line means (`storage.journal_replay`), which files
are whole (`register_lake`), charging what a gap lost (`lost_releases`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text, update
from sqlalchemy.engine import make_url

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError, DataError
from dpdau_assets.operations.budget.lost_releases import (
    days_that_may_be_lost,
    ranges_document,
    set_unaccounted,
    unaccounted,
)
from dpdau_assets.operations.erase.completion import complete_in_session
from dpdau_assets.operations.erase.live_users import clean_staged_in_session, replay_in_session
from dpdau_assets.operations.recover.register_lake import Registered, register_lake, register_orphan_batches
from dpdau_assets.operations.recover.restore_lake import drop_batches, put_lake_back
from dpdau_assets.operations.recover.restore_source import Base, RestoreSource, find_gaps, is_published_beyond
from dpdau_assets.operations.session.open_workspace import ledger_url, open_workspace
from dpdau_assets.operations.session.orphans import remove_orphans
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Clock, Workspace, last_use, utc_now
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.disk.durable import (
    TEMPORARY_MARK,
    make_durable,
    read_bytes,
    remove,
    replace,
    temporary_name,
)
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.journal.journal import RESTORE_STEP, Journal
from dpdau_assets.storage.journal.lines import Gap, Lines, read
from dpdau_assets.storage.journal.replay import Replay
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.keys.salt_store import SaltStore
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import erasures, journal_entries, salt_facts, schema
from dpdau_assets.storage.ledger.ledger import DIGEST_KEY, SEQ_KEY, Ledger, get_meta, open_copy, parse_time, set_meta

LOCK_SECONDS = 600
NUMBER_STEP = 1_000_000
"""How far numbers jump over a gap, so that none of a lost row is ever used again."""
NUMBERED = ("accounts", "charges", "resets", "batches", "erasure_requests")


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did (trusted side).

    Attributes:
        source: Name of the copy, `the present ledger`, or `the journal alone`.
        lines: Lines of the journal replayed.
        gaps: Where lines are missing.
        unaccounted: Days that may have been released in a gap; their unreleased values wait for `--assume-released`.
        registered: What was found on disk.
        registered_batches: Lost batches whose staged files were registered again.
        lake: Name of the copy of the data that was put back, None when none was.
        batches_to_repeat: Batches newer than that copy whose sources must be ingested again.
        erasures_applied: Erasure requests applied again.
    """

    source: str
    lines: int
    gaps: tuple[Gap, ...]
    unaccounted: tuple[DayRange, ...]
    registered: Registered
    registered_batches: int
    lake: str | None
    batches_to_repeat: int
    erasures_applied: int

    def to_json(self) -> dict[str, Any]:
        """The report as a document."""
        return {
            "source": self.source,
            "lines_replayed": self.lines,
            "gaps": [{"after": gap.after, "since": gap.since, "until": gap.until} for gap in self.gaps],
            "unaccounted": ranges_document(self.unaccounted),
            "raw_files": self.registered.raw_files,
            "staged_files": self.registered.staged,
            "raw_files_from_live_users": self.registered.repaired,
            "damaged_files": self.registered.damaged,
            "missing_files": self.registered.missing,
            "adopted_batches": self.registered_batches,
            "lake": self.lake,
            "batches_to_repeat": self.batches_to_repeat,
            "erasures_applied": self.erasures_applied,
        }


def restore(
    settings: Settings, *, source: Path | None = None, with_lake: bool = False, clock: Clock = utc_now
) -> Restored:
    """Brings the ledger back, and with `with_lake` the data of the newest intact copy.

    Guarantee: every charge, release, reset, account and erasure of which a copy or the journal holds a whole line is in
    the restored ledger under its own number; nothing that was released is drawn again; no erased user is in any file
    when this returns, and no day that retention has dropped. Where lines are missing, the days that may have been
    released in that time are not released before they are charged.

    Args:
        settings: All settings; DATA_DIR names the folder. Nobody else may be working in it.
        source: The copy of the ledger to start from; None for the newest that is intact.
        with_lake: Whether raw events, unions and staged files are put back from a copy too.
        clock: Gives an aware time.

    Raises:
        ConfigurationError: The present ledger is intact and nothing is missing in it, the salts are not the ledger's,
            or the journal has a gap and no first day of the series is known.
        DataError: No copy is intact, or copy and journal disagree.
        StorageError: The disk or a lock refused.
    """
    lake = Lake(settings.root, memory_limit=settings.duckdb_memory_limit, threads=settings.duckdb_threads)
    lake.make_folders()
    path = Path(str(make_url(ledger_url(settings, lake)).database))
    with lake.lock(timeout_seconds=LOCK_SECONDS), FileLock(path.parent / f".{path.name}.lock", timeout_seconds=60):
        work = RestoreWork(settings, lake, path, clock())
        made = work.make(source, with_lake=with_lake)
    workspace = open_workspace(settings, clock=clock, create=False)
    try:
        applied = apply_all_erasures(workspace)
    finally:
        workspace.close()
    return made(applied)


def apply_all_erasures(workspace: Workspace) -> int:
    """Applies every erasure there is to every file, and removes files that no row names; how many requests.

    Raises:
        DataError: A file of raw events or staging is damaged; the requests stay pending.
        StorageError: The disk or the ledger refused; the requests stay pending.
    """
    with lake_session(workspace, None, is_thorough=True) as session:
        clean_staged_in_session(session)
        replay_in_session(session, session.days)
        with workspace.ledger.read() as connection:
            is_pending = bool(erasures.pending(connection))
        if is_pending:
            return complete_in_session(session)
        remove_orphans(workspace)
        workspace.lake.sweep_temporary(is_thorough=True)
    return 0


class RestoreWork:
    """One restore, under the locks of lake and ledger."""

    def __init__(self, settings: Settings, lake: Lake, path: Path, now: datetime) -> None:
        self._settings = settings
        self._lake = lake
        self._path = path
        self._now = now
        self._journal = Journal(lake.journal_folder, mirror=settings.journal_mirror, end=lake.journal_end_path)
        self._salts = _salts(lake)
        self._ledger_id = _lake_ledger_id(lake)

    def make(self, source: Path | None, *, with_lake: bool) -> Callable[[int], Restored]:
        """Makes the new ledger and swaps it in; what to call with the number of erasures applied afterwards."""
        self._journal.align()
        remove(self._path.parent.glob(f".{self._path.name}{TEMPORARY_MARK}*"))
        found = RestoreSource(self._settings, self._lake, self._path, ledger_id=self._ledger_id)
        base = found.choose(source, with_lake=with_lake)
        lines = read(self._lake.journal_folder, self._settings.journal_mirror, after=base.anchor)
        gaps = find_gaps(lines, base, known_seq=found.known_seq)
        temporary = self._path.parent / temporary_name(self._path)
        try:
            self._copy(base, temporary)
            ledger = open_copy(temporary)
            try:
                report = self.fill(ledger, base, lines, gaps, found.known_seq, with_lake=with_lake)
            finally:
                ledger.close()
            self.swap(temporary)
        finally:
            remove([temporary, *(temporary.with_name(temporary.name + end) for end in ("-wal", "-shm"))])
        return report

    def _copy(self, base: Base, target: Path) -> None:
        if base.path is None:
            return
        with closing(sqlite3.connect(base.path)) as held, closing(sqlite3.connect(target)) as copy:
            held.backup(copy)

    def fill(
        self, ledger: Ledger, base: Base, lines: Lines, gaps: tuple[Gap, ...], known_seq: int, *, with_lake: bool
    ) -> Callable[[int], Restored]:
        """Replays, registers and marks in one transaction, recorded in the journal before it commits."""
        replay = Replay(self._salts, lowest_epoch=self._salts.lowest_epoch if self._salts else 0)
        with ledger.write() as connection:
            for line in lines.lines:
                replay.apply(connection, line)
            self._check_id(connection)
            journal_entries.take_journal_entries(connection)  # what the journal holds already
            if all(gap.until for gap in gaps) and is_published_beyond(connection, self._lake):
                end = lines.lines[-1] if lines.lines else None
                gaps = (*gaps, Gap(end.seq if end else base.anchor.seq, end.at if end else base.since, None))
            if gaps:
                self._fill_gap(connection, gaps, lines)
            floor = salt_facts.retention_floor(connection)
            counts = self._files_of_batch() if with_lake else replay.files_of_batch
            copy = put_lake_back(self._lake, self._ledger_id) if with_lake else None
            remove([self._lake.intent_path])
            registered = register_lake(
                connection,
                self._lake,
                files_of_batch=counts,
                held_from=floor,
                is_put_back=with_lake,
                now=self._now,
            )
            dropped = 0
            if copy:
                newest, staged = copy.manifest.batch_seq, registered.staged_of_batch
                dropped = drop_batches(connection, staged, files_of_batch=counts, after=newest)
            orphan_files = (
                register_orphan_batches(connection, self._lake, held_from=floor, now=self._now) if gaps else 0
            )
            _mark_erasures(connection)
            lost = unaccounted(connection)
            self._add_restored_entry(connection, base, lines, gaps, max(known_seq, base.anchor.seq))
        ledger.scrub()
        name = copy.path.name if copy else None

        def report(applied: int) -> Restored:
            return Restored(base.name, len(lines.lines), gaps, lost, registered, orphan_files, name, dropped, applied)

        return report

    def _files_of_batch(self) -> dict[int, int]:
        """How many files each batch of the whole journal staged, by its seq."""
        lines = read(self._lake.journal_folder, self._settings.journal_mirror).lines
        found = (document for line in lines for document in line.document()["notes"])
        return {document["seq"]: document["files"] for document in found if document["note"] == "batch"}

    def _check_id(self, connection: Connection) -> None:
        found = get_meta(connection, "ledger_id")
        if found is None or self._ledger_id not in (None, found):
            raise ConfigurationError(
                f"the journal belongs to ledger {found}, these files to {self._ledger_id}",
                hint="put the right journal back, or set DATA_DIR to the right folder",
            )

    def _fill_gap(self, connection: Connection, gaps: tuple[Gap, ...], lines: Lines) -> None:
        """What a gap makes uncertain: numbers jump, and days wait to be charged."""
        for table in NUMBERED:
            connection.execute(
                text(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT :name, 0 "
                    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name)"
                ),
                {"name": table},
            )
            connection.execute(
                text("UPDATE sqlite_sequence SET seq = seq + :step WHERE name = :name"),
                {"name": table, "step": NUMBER_STEP},
            )
        until = self._latest_end(connection, gaps, lines)
        lost = days_that_may_be_lost(connection, self._settings, until=until)
        before = [day for days in unaccounted(connection) for day in days]
        set_unaccounted(connection, [*before, *lost])

    def _latest_end(self, connection: Connection, gaps: tuple[Gap, ...], lines: Lines) -> datetime:
        """When the last of the gaps had ended at the latest: a clock that was set back since moves no end back."""
        seen = [text for gap in gaps for text in (gap.since, gap.until)]
        if all(gap.until for gap in gaps):
            return max(parse_time(text) for text in seen if text)
        seen += [last_use(connection), *(line.at for line in lines.lines)]
        return max(self._now, *(parse_time(text) for text in seen if text))

    def _add_restored_entry(
        self, connection: Connection, base: Base, lines: Lines, gaps: tuple[Gap, ...], known_seq: int
    ) -> None:
        last = lines.lines[-1].anchor if lines.lines else base.anchor
        set_meta(connection, SEQ_KEY, str(max(last.seq, known_seq)))
        set_meta(connection, DIGEST_KEY, last.digest)
        document = {"source": base.name, "gaps": [[gap.after, gap.since, gap.until] for gap in gaps]}
        journal_entries.add_journal_entry(connection, "restored", document)
        self._journal.flush(connection, step=RESTORE_STEP)

    def swap(self, temporary: Path) -> None:
        fault = backups.fault_in(temporary)
        if fault:
            raise DataError(
                f"the restored ledger failed {fault}", hint="use an older copy: `dpdau restore --from FILE`"
            )
        make_durable([temporary])
        remove([self._path.with_name(self._path.name + end) for end in ("-wal", "-shm")])
        replace(temporary, self._path)
        make_durable([self._path])


def _mark_erasures(connection: Connection) -> None:
    """Every request is pending again: which files its users had left is not known any more."""
    last = erasures.last_seq(connection)
    connection.execute(update(schema.erasure_requests).values(completed_at=None))
    connection.execute(update(schema.erasure_log).values(pending=True, seq=last))


def _salts(lake: Lake) -> SaltStore | None:
    if not lake.secrets_path.exists():
        return None
    return SaltStore(salt_file.read(lake.secrets_path))


def _lake_ledger_id(lake: Lake) -> str | None:
    path = lake.ledger_id_path
    return read_bytes(path).decode("ascii", "replace").strip() if path.exists() else None
