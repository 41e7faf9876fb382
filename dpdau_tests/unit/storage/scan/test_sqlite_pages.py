"""The raw pages of the ledger: everything outside the table of tombstones, whatever SQLite still makes of it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.storage.scan.byte_search import KeySearch
from dpdau_assets.storage.scan.sqlite_pages import open_for_good, pages_outside_table

KEY = 0xF1E2_D3C4_B5A6_9788 - (1 << 64)
SEARCH = KeySearch(np.array([KEY % (1 << 64)], np.uint64))


def database(path: Path, *, rows: int = 3000) -> sqlite3.Connection:
    """A database with a table that may hold pseudonyms and one that may not."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE known (user_key INTEGER PRIMARY KEY, day TEXT) WITHOUT ROWID")
    connection.execute("CREATE TABLE other (number INTEGER, text TEXT)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO known VALUES (?, 'x')", [(number * 7919 + KEY,) for number in range(rows)])
    connection.executemany("INSERT INTO other VALUES (?, 'y')", [(number,) for number in range(rows)])
    connection.execute("COMMIT")
    return connection


def root(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'known'").fetchone()[0])


def where(path: Path, table_root: int) -> list[str]:
    pages = pages_outside_table(path, root=table_root)
    places = {"database": pages.database, "log": pages.log}
    return [name for name, found in places.items() if SEARCH.is_in_bytes(b"".join(found), is_sqlite=True)]


class TestPagesOutsideTable:
    @pytest.mark.parametrize("rows", [5, 3000])
    def test_the_table_itself_is_left_out(self, tmp_path: Path, rows: int) -> None:
        """Pseudonyms in their own table are not found, in the log or in the main file, whatever its depth."""
        path = tmp_path / "a.sqlite"
        connection = database(path, rows=rows)
        assert where(path, root(connection)) == []
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert where(path, root(connection)) == []
        assert len(pages_outside_table(path, root=root(connection)).database) > 1
        assert SEARCH.is_in_bytes(path.read_bytes())
        connection.close()

    def test_another_table_is_found_in_the_log_and_in_the_file(self, tmp_path: Path) -> None:
        """A pseudonym in a row of another table is found where the row is."""
        path = tmp_path / "a.sqlite"
        connection = database(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO other VALUES (?, 'z')", (KEY,))
        assert where(path, root(connection)) == ["log"]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert where(path, root(connection)) == ["database"]
        connection.close()

    def test_a_deleted_row_is_found_in_free_space(self, tmp_path: Path) -> None:
        """What a delete without secure_delete left in free pages is found, although SQL no longer shows it."""
        path = tmp_path / "a.sqlite"
        connection = database(path)
        connection.execute("CREATE TABLE gone (user_key INTEGER)")
        connection.execute("INSERT INTO gone VALUES (?)", (KEY,))
        connection.execute("DROP TABLE gone")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert where(path, root(connection)) == ["database"]
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert where(path, root(connection)) == []
        connection.close()

    def test_frames_of_an_earlier_round_of_the_log_are_found(self, tmp_path: Path) -> None:
        """A log that starts again from its beginning keeps old frames behind the new ones; they are looked at."""
        path = tmp_path / "a.sqlite"
        connection = database(path)
        connection.execute("INSERT INTO other VALUES (?, 'z')", (KEY,))
        connection.execute("DELETE FROM other WHERE text = 'z'")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        connection.execute("INSERT INTO other VALUES (1, 'after')")
        assert where(path, root(connection)) == ["log"]
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert where(path, root(connection)) == []
        connection.close()

    def test_reading_pages_keeps_the_locks_of_sqlite(self, tmp_path: Path) -> None:
        """A transaction under way in this process still excludes other processes after its pages were read."""
        path = tmp_path / "a.sqlite"
        connection = database(path, rows=5)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN IMMEDIATE")
        pages_outside_table(path, root=None)
        program = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], timeout=0)\n"
            "connection.execute('BEGIN IMMEDIATE')"
        )
        other = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
        assert "database is locked" in other.stderr
        connection.execute("COMMIT")
        connection.close()

    def test_a_file_is_opened_once(self, tmp_path: Path) -> None:
        """Reading a database again takes no further descriptor."""
        path = tmp_path / "a"
        path.write_bytes(b"x")
        assert open_for_good(path) == open_for_good(path)
        assert os.pread(open_for_good(path), 1, 0) == b"x"
