"""Verifying every other place below DATA_DIR: reports, exports, catalogue, the ledger's raw pages, Dagster's home.

Belongs here: where a pseudonym that must be gone could hide outside lake/, staging/ and tmp/. Does not belong here:
what the ledger's rows say (`verify.ledger`), backups and the journal (`verify.backups`).

The ledger's own table of tombstones is the one place where they stay; every other page of it, free or not, and every
frame of its log is looked at. Raw ids are not known here: `inbox/` is not searched, only mentioned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
from sqlalchemy import Connection

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.operations.verify.findings import (
    FLUSH_DELETES,
    HOLDS,
    Action,
    Note,
    NoteKind,
    Repair,
    Report,
    removal_of,
)
from dpdau_assets.settings.settings import dagster_home
from dpdau_assets.storage.lake.layout import (
    BACKUPS,
    CATALOGUE,
    DONE,
    INBOX,
    JOURNAL,
    LAKE,
    METRICS,
    METRICS_CSV,
    REPORT,
    STAGING,
    TEMPORARY,
)
from dpdau_assets.storage.scan.byte_search import CHUNK_BYTES, KeySearch
from dpdau_assets.storage.scan.sqlite_pages import pages_outside_table

ELSEWHERE = (LAKE, STAGING, TEMPORARY, INBOX, BACKUPS, JOURNAL)
"""Folders of DATA_DIR that others look at; sources in `inbox` hold raw ids."""
SHARED_MEMORY = "-shm"
"""SQLite's index of its log: page numbers only, and opening it would drop SQLite's locks."""
REWRITTEN = {
    METRICS_CSV: Repair(Action.WRITE_AGAIN, "dpdau export"),
    METRICS: Repair(Action.WRITE_AGAIN, "dpdau export"),
    REPORT: Repair(Action.WRITE_AGAIN, "dpdau report"),
    CATALOGUE: Repair(Action.WRITE_AGAIN, "dpdau init"),
}
"""Files that a command writes anew, with that command."""
KEPT_SOURCES = Note(
    NoteKind.NOT_SEARCHED,
    "KEEP_SOURCES keeps sources with raw ids in inbox/done: they are outside the guarantee and were not searched",
)


def verify_places(workspace: Workspace, search: KeySearch, report: Report, *, with_dagster: bool) -> None:
    """Reports every file outside lake/, staging/ and tmp/ that holds a pseudonym that must be gone.

    Args:
        workspace: The open data folder.
        search: All pseudonyms of complete requests.
        report: Takes the findings.
        with_dagster: Whether Dagster's home is searched as well; never from a process in which Dagster has it open.

    Raises:
        StorageError: A file or the ledger cannot be read.
    """
    root, home = workspace.lake.root, dagster_home(workspace.settings)
    database = ledger_path(workspace)
    for path in _files_of(root):
        if path.is_relative_to(home) or _is_ledger(path, database):
            continue
        relative = str(path.relative_to(root))
        if search.is_in_bytes(relative.encode("utf-8", "surrogateescape")):
            place = f"{path.relative_to(root).parts[0]}/"
            report.find("erased", place, "a file is named after it", repair=Repair(Action.REMOVE, "remove it"))
        elif holds_any(search, path):
            report.find("erased", relative, HOLDS, repair=REWRITTEN.get(relative, removal_of(path)))
    _verify_catalogue(workspace, search, report)
    verify_pages(workspace, search, report)
    if with_dagster:
        _verify_dagster(home, search, report)
    _mention_sources(workspace, report)


def ledger_path(workspace: Workspace) -> Path:
    """The file that SQLite has open as the ledger."""
    with workspace.ledger.read() as connection:
        return _database(connection)


def _database(connection: Connection) -> Path:
    return Path(str(connection.exec_driver_sql("PRAGMA database_list").all()[0][2]))


def _is_ledger(path: Path, database: Path) -> bool:
    """Whether a file is the ledger or its log, which are read page by page, or the index of its log."""
    names = (database.name, f"{database.name}-wal", f"{database.name}{SHARED_MEMORY}")
    return path.name in names and path.parent.samefile(database.parent)


def _files_of(root: Path) -> Iterator[Path]:
    """The files below DATA_DIR that are looked at here."""
    for entry in sorted(root.iterdir()):
        if entry.name in ELSEWHERE:
            continue
        if entry.is_file():
            yield entry
        else:
            yield from (path for path in sorted(entry.rglob("*")) if path.is_file())


def verify_pages(workspace: Workspace, search: KeySearch, report: Report) -> None:
    """Reports pseudonyms in pages of the ledger outside its table of tombstones, and in its write-ahead log."""
    if not search:
        return
    with workspace.ledger.write() as connection:  # nobody may write while pages are read
        database = _database(connection)
        query = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'erasure_log'"
        pages = pages_outside_table(database, root=connection.exec_driver_sql(query).scalar())
    if is_in_pages(search, pages.log):
        report.find("erased", "the ledger's write-ahead log", HOLDS, repair=FLUSH_DELETES)
    if is_in_pages(search, pages.database):
        report.find(
            "erased",
            "the ledger outside its table of tombstones",
            f"a page {HOLDS}: free space, or a row written by somebody else",
            repair=Repair(
                Action.REBUILD,
                "dpdau rebuild of any day, which writes the ledger anew; a row of a table must be removed manually",
            ),
        )


def is_in_pages(search: KeySearch, pages: tuple[bytes, ...]) -> bool:
    """Whether a pseudonym is in some pages; they are joined, for one search of a large piece is faster."""
    size = max(1, CHUNK_BYTES // max(1, len(pages[0]))) if pages else 1
    pieces = (b"".join(pages[start : start + size]) for start in range(0, len(pages), size))
    return any(search.is_in_bytes(piece, is_sqlite=True) for piece in pieces)


def _verify_catalogue(workspace: Workspace, search: KeySearch, report: Report) -> None:
    """Reports a catalogue that holds rows: it is made of views, and DuckDB would store rows compressed."""
    path = workspace.lake.catalogue_path
    if not path.exists():
        return
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
            tables = [str(row[0]) for row in found if row]
            is_erased = any(_is_in_table(connection, name, search) for name in tables)
    except duckdb.Error:
        report.note(Note(NoteKind.NOT_SEARCHED, f"{CATALOGUE} could not be opened: it was searched as bytes only"))
        return
    if tables:
        report.find(
            "erased" if is_erased else "unknown",
            CATALOGUE,
            HOLDS if is_erased else "the catalogue holds tables, which no command makes",
            repair=REWRITTEN[CATALOGUE],
        )


def _is_in_table(connection: duckdb.DuckDBPyConnection, name: str, search: KeySearch) -> bool:
    quoted = name.replace('"', '""')
    with suppress(duckdb.Error):
        for batch in connection.sql(f'SELECT * FROM "{quoted}"').to_arrow_reader(100_000) or ():
            buffers = (buffer for column in batch.columns for buffer in column.buffers() if buffer is not None)
            if any(search.is_in_bytes(buffer.to_pybytes()) for buffer in buffers):
                return True
    return False


def _verify_dagster(home: Path, search: KeySearch, report: Report) -> None:
    """Reports files of Dagster's home that hold a pseudonym; the home is history and can be made anew."""
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and not path.name.endswith(SHARED_MEMORY)]
    if any(holds_any(search, path) for path in files):
        report.find(
            "erased",
            "Dagster's home",
            HOLDS,
            repair=removal_of(home, before="stop Dagster, then ", after=": only the history of runs is lost"),
        )


def _mention_sources(workspace: Workspace, report: Report) -> None:
    """Says what the verification cannot see: raw ids of sources."""
    inbox = workspace.lake.inbox
    done = inbox / DONE
    has_done = done.is_dir() and any(done.iterdir())
    if workspace.settings.keep_sources or has_done:
        report.note(KEPT_SOURCES)
    if inbox.is_dir() and any(path.is_file() for path in inbox.iterdir()):
        line = "sources that wait in inbox/ hold raw ids and were not searched; ingest drops erased users"
        report.note(Note(NoteKind.NOT_SEARCHED, line))
