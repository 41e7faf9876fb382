"""Transactions mean what they say, and a ledger is made once."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import OperationalError

from dpdau_assets.errors import ConfigurationError, InternalError, StorageError
from dpdau_assets.storage.disk import file_systems
from dpdau_assets.storage.ledger import ledger as ledgers
from dpdau_assets.storage.ledger import schema
from dpdau_assets.storage.ledger.ledger import (
    Ledger,
    create_or_open,
    get_meta,
    is_synthetic,
    open_existing,
    parse_time,
    set_meta,
    time_text,
)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}/ledgers/ledger.sqlite"


class TestConnections:
    def test_every_connection_has_the_pragmas(self, ledger: Ledger) -> None:
        """WAL, full synchronisation, secure deletion, foreign keys, temporary tables in memory and a wait of 30 s."""
        expected = {
            "journal_mode": "wal",
            "synchronous": 2,
            "secure_delete": 1,
            "foreign_keys": 1,
            "temp_store": 2,
            "busy_timeout": 30_000,
        }
        for opened in (ledger.read, ledger.write):
            with opened() as connection:
                found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}
            assert found == expected

    def test_an_error_takes_everything_back(self, ledger: Ledger) -> None:
        """Nothing of a block that fails is stored, table changes included."""
        with pytest.raises(ZeroDivisionError), ledger.write() as connection:
            set_meta(connection, "x", "1")
            connection.exec_driver_sql("CREATE TABLE y (z INTEGER)")
            raise ZeroDivisionError
        with ledger.read() as connection:
            assert get_meta(connection, "x") is None
            assert connection.execute(text("SELECT count(*) FROM sqlite_master WHERE name = 'y'")).scalar() == 0

    def test_a_reader_sees_one_state(self, ledger: Ledger) -> None:
        """A commit of another connection does not appear within a read block, and does not wait for it."""
        with ledger.read() as reader:
            assert get_meta(reader, "x") is None
            with ledger.write() as writer:
                set_meta(writer, "x", "1")
            assert get_meta(reader, "x") is None
        with ledger.read() as reader:
            assert get_meta(reader, "x") == "1"

    def test_a_second_writer_waits_before_it_reads(self, ledger: Ledger) -> None:
        """Two writers that both read, then both write, never both act on the same state."""
        with ledger.write() as connection:
            set_meta(connection, "spent", "0")
        seen: list[int] = []
        first_has_read, second_started = threading.Event(), threading.Event()

        def first() -> None:
            with ledger.write() as connection:
                spent = int(get_meta(connection, "spent") or 0)
                first_has_read.set()
                assert second_started.wait(5)
                seen.append(spent)
                set_meta(connection, "spent", str(spent + 1))

        def second() -> None:
            assert first_has_read.wait(5)
            second_started.set()
            with ledger.write() as connection:
                spent = int(get_meta(connection, "spent") or 0)
                seen.append(spent)
                set_meta(connection, "spent", str(spent + 1))

        threads = [threading.Thread(target=first), threading.Thread(target=second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [0, 1]

    def test_foreign_keys_hold(self, ledger: Ledger) -> None:
        """A staged file without its batch is refused as our own mistake, without quoting values."""
        row = {"batch_seq": 99, "day": datetime(2026, 1, 1, tzinfo=UTC).date(), "epoch": 1, "digest": "secret" * 10}
        with pytest.raises(InternalError, match="breaks one of its rules") as caught, ledger.write() as connection:
            connection.execute(insert(schema.staged_files), row)
        assert "secret" not in str(caught.value) and "secret" not in str(caught.value.__cause__)


class TestErrors:
    def test_a_held_ledger_is_a_storage_error(
        self, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A writer that never lets go ends in one line, not in a driver's error."""
        monkeypatch.setattr(ledgers, "PRAGMAS", ("PRAGMA busy_timeout = 50", *ledgers.PRAGMAS[1:]))
        impatient = create_or_open_without_wait(tmp_path)
        with ledger.write(), pytest.raises(StorageError, match="is busy"), impatient.write():
            pytest.fail("two writers at once")
        impatient.close()

    def test_a_log_that_is_still_read_is_not_called_empty(
        self, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While another connection reads an older state, what was deleted stays in the log, and the caller is told."""
        monkeypatch.setattr(ledgers, "PRAGMAS", ("PRAGMA busy_timeout = 50", *ledgers.PRAGMAS[1:]))
        impatient = create_or_open_without_wait(tmp_path)
        with ledger.read() as reader:
            get_meta(reader, "ledger_id")
            with impatient.write() as connection:
                set_meta(connection, "x", "1")
            with pytest.raises(StorageError, match="cannot be emptied") as refused:
                impatient.scrub(repeat="dpdau apply-retention")
        assert "`dpdau apply-retention`" in refused.value.hint
        impatient.scrub()
        impatient.close()

    def test_a_full_disk_is_a_storage_error(self, ledger: Ledger) -> None:
        """When the database cannot grow the block fails in one line and stores nothing."""
        with pytest.raises(StorageError, match="disk is full"), ledger.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            set_meta(connection, "x", "y" * 100_000)
        with ledger.read() as connection:
            assert get_meta(connection, "x") is None

    def test_a_log_that_cannot_grow_is_a_storage_error(self, ledger: Ledger) -> None:
        """SQLite calls a disk that is too full for the index of its log an input or output error."""
        fault = sqlite3.OperationalError("disk I/O error")
        fault.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
        with pytest.raises(StorageError, match="disk is full or fails") as caught, ledger.read():
            raise OperationalError("", None, fault)
        assert "free some space" in caught.value.hint

    def test_a_file_that_is_no_database_is_a_storage_error(self, tmp_path: Path) -> None:
        """Another file in the ledger's place is named in one line and left as it was."""
        path = tmp_path / "ledgers" / "ledger.sqlite"
        path.parent.mkdir()
        path.write_bytes(b"certainly not a database" * 100)
        for opened in (create_or_open, open_existing):
            with pytest.raises(StorageError, match="is not an SQLite database"):
                opened(url_of(tmp_path))
        assert path.read_bytes() == b"certainly not a database" * 100

    def test_a_read_only_file_is_a_storage_error(self, ledger: Ledger, tmp_path: Path) -> None:
        """A ledger that cannot be written says so."""
        ledger.close()
        read_only = Ledger(ledgers.make_url(f"sqlite:///file:{tmp_path}/ledgers/ledger.sqlite?mode=ro&uri=true"))
        with pytest.raises(StorageError, match="is not writable"), read_only.write() as connection:
            set_meta(connection, "x", "1")
        read_only.close()


def create_or_open_without_wait(tmp_path: Path) -> Ledger:
    """A second, separate engine over the same file."""
    return Ledger(ledgers.make_url(url_of(tmp_path)))


class TestCreation:
    def test_opening_again_changes_nothing(self, tmp_path: Path) -> None:
        """A second opening finds the same ledger."""
        first, second = create_or_open(url_of(tmp_path)), create_or_open(url_of(tmp_path))
        assert first.ledger_id == second.ledger_id
        assert len(first.ledger_id) == 32
        first.close()
        second.close()

    def test_an_absent_ledger_is_not_made_by_looking(self, tmp_path: Path) -> None:
        """Looking for a ledger makes neither file nor folder."""
        assert open_existing(url_of(tmp_path)) is None
        assert list(tmp_path.iterdir()) == []

    def test_a_creation_that_died_is_finished_later(self, tmp_path: Path) -> None:
        """An empty file or a database without tables counts as no ledger and can be created."""
        path = tmp_path / "ledgers" / "ledger.sqlite"
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        assert path.stat().st_size > 0
        assert open_existing(url_of(tmp_path)) is None
        made = create_or_open(url_of(tmp_path))
        assert made.ledger_id
        made.close()

    def test_synthetic_is_decided_at_creation(self, tmp_path: Path) -> None:
        """A ledger of real data never becomes synthetic; a synthetic one stays so."""
        create_or_open(url_of(tmp_path / "real")).close()
        with pytest.raises(ConfigurationError, match="created for real data"):
            create_or_open(url_of(tmp_path / "real"), synthetic=True)
        create_or_open(url_of(tmp_path / "toy"), synthetic=True).close()
        again = create_or_open(url_of(tmp_path / "toy"))
        with again.read() as connection:
            assert is_synthetic(connection)
        again.close()

    @pytest.mark.parametrize("url", ["postgresql://u:topsecret@h/db", "sqlite://", "sqlite:///:memory:", "nonsense"])
    def test_other_databases_are_refused(self, url: str) -> None:
        """What this version cannot keep a ledger in is refused, without showing a password."""
        with pytest.raises(ConfigurationError) as caught:
            create_or_open(url)
        assert "topsecret" not in caught.value.message

    def test_network_file_systems_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No file is made on a network file system."""
        (tmp_path / "mounts").write_text("server:/x / nfs4 rw 0 0\n")
        monkeypatch.setattr(file_systems, "MOUNTS", tmp_path / "mounts")
        with pytest.raises(ConfigurationError, match="network file system"):
            create_or_open(url_of(tmp_path))
        assert not (tmp_path / "ledgers").exists()


class TestScrub:
    def test_deleted_values_leave_the_files(self, ledger: Ledger, tmp_path: Path) -> None:
        """After a deletion and a scrub no file of the ledger holds the value."""
        value = "a-value-that-must-go"
        with ledger.write() as connection:
            set_meta(connection, "x", value)
        with ledger.write() as connection:
            connection.execute(text("DELETE FROM meta WHERE key = 'x'"))

        def holds() -> bool:
            return any(value.encode() in path.read_bytes() for path in (tmp_path / "ledgers").iterdir())

        assert holds()
        ledger.scrub()
        assert not holds()


class TestTimes:
    def test_text_order_is_time_order(self) -> None:
        """Times are stored in UTC with microseconds, whatever their zone, and come back equal."""
        moment = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=5)))
        later = moment + timedelta(microseconds=1)
        assert time_text(moment) == "2026-03-01T07:00:00.000000+00:00"
        assert time_text(moment) < time_text(later)
        assert parse_time(time_text(later)) == later


class TestMeta:
    def test_a_fact_is_replaced(self, ledger: Ledger) -> None:
        """Setting again replaces, and each fact has one row."""
        with ledger.write() as connection:
            set_meta(connection, "x", "1")
            set_meta(connection, "x", "2")
            rows = connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "x")).all()
        assert [row[0] for row in rows] == ["2"]
