"""The ledger's connections: transactions, creation that happens once, migrations, and small facts.

Belongs here: how to open, read, write and migrate the SQL ledger. Does not belong here: what the rows mean (`batches`,
`partitions`, `erasures`, `accounts`).

The SQLite driver stays in autocommit mode and every transaction is begun here: BEGIN IMMEDIATE for a writer, so that
what it reads cannot change before it commits, and a deferred BEGIN for a reader, which sees one state throughout.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    Connection,
    Engine,
    Insert,
    create_engine,
    event,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from dpdau_assets.errors import ConfigurationError, InternalError, LedgerDamagedError, StorageError
from dpdau_assets.storage.disk.file_systems import refuse_network_file_system
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.ledger import journal_entries, schema

BUSY_TIMEOUT_SECONDS = 30
HEAD_REVISION = "0003"
"""The newest migration; a ledger at this revision is opened without loading Alembic."""
SEQ_KEY = "journal_seq"
DIGEST_KEY = "journal_digest"
FACTS_WITHOUT_ENTRY = frozenset({SEQ_KEY, DIGEST_KEY, "partition_version"})
"""Facts that the journal does not record: its own last line, and what a restore makes anew."""
PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
)
"""Keeps temporary tables in memory: a VACUUM would otherwise write tombstones to a folder outside DATA_DIR."""


class Recorder(Protocol):
    """An object that records what a transaction did before it commits; the journal is one."""

    def begin(self, connection: Connection) -> bool:
        """Is called when a write transaction begins; returns whether it replayed a transaction that never committed."""
        ...

    def flush(self, connection: Connection) -> None:
        """Is the last call before the transaction commits."""
        ...


class Ledger:
    """The SQL ledger at one URL; made by `create_or_open` or `open_existing`.

    Attributes:
        journal: Records every write transaction; None for a ledger without a journal, such as a copy.
    """

    def __init__(self, url: URL, *, journal: Recorder | None = None) -> None:
        self._url = url
        self.journal = journal
        self._is_made = False
        self._engine = _engine(url)
        self._writer = self._engine.execution_options(dpdau_begin="BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yields a connection that sees one unchanging state and never waits for a writer.

        Raises:
            StorageError: The database cannot be read.
        """
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yields the only writer's connection: everything in the block commits durably together, or not at all.

        The block starts after every other writer has finished (it waits at most 30 s), so nothing read in it can be
        outdated. The journal durably records what the block did before it commits.

        Raises:
            StorageError: Another writer took longer than 30 s, or the disk failed; nothing was written.
            DataError: The ledger is older than its journal.
        """
        is_redone = True
        while is_redone:
            with self._translated(), self._writer.begin() as connection:
                journal_entries.take_journal_entries(connection)
                self._is_made = self._is_made or inspect(connection).has_table("meta")
                is_redone = self.journal is not None and self._is_made and self.journal.begin(connection)
                if is_redone:
                    continue  # commits the replay alone: a further line before that could not be told from a lost one
                yield connection
                if self.journal is not None:
                    self.journal.flush(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise _translate(error, self._place()) from error

    def _place(self) -> str:
        return str(self._url.database)

    @property
    def ledger_id(self) -> str:
        """The ledger's random name, made with it: 32 hex characters."""
        with self.read() as connection:
            value = get_meta(connection, "ledger_id")
        if value is None:
            raise InternalError(f"the ledger {self._place()} has no ledger_id")
        return value

    def scrub(self, *, repeat: str = "dpdau flush-deletes") -> None:
        """Moves the write-ahead log into the database and empties it, so that no deleted value stays in it.

        Args:
            repeat: The command that does this again.

        Raises:
            StorageError: Another connection was busy for 30 s; the log did not change.
        """
        with self._translated(), self._engine.connect().execution_options(dpdau_begin="") as connection:
            is_refused, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        if is_refused:
            raise StorageError(
                f"the log of the ledger {self._place()} cannot be emptied of what was erased: another process reads it",
                hint=f"wait for that command or stop it, then `{repeat}`",
            )

    def copy_to(self, path: Path) -> None:
        """Writes the present state into a new database file, while other processes go on reading and writing.

        Args:
            path: A file that does not exist yet; durable only after `make_durable`.

        Raises:
            StorageError: The database cannot be read, or the file cannot be written.
        """
        with self._translated(), self._engine.connect().execution_options(dpdau_begin="") as connection:
            raw: Any = connection.connection.driver_connection
            with closing(sqlite3.connect(path)) as target, storage_errors(path, "write"):
                try:
                    raw.backup(target)
                    target.execute("PRAGMA journal_mode = DELETE")
                except sqlite3.Error as error:
                    raise StorageError(
                        f"the ledger cannot be copied to {path} ({getattr(error, 'sqlite_errorname', 'error')})",
                        hint="look at the free space of that disk, then repeat",
                    ) from None

    def compact(self) -> None:
        """Rewrites the database from its rows alone, so that no deleted value stays in free space, and empties the log.

        Raises:
            StorageError: Another connection is busy, or the disk is full; nothing was changed.
        """
        with self._translated(), self._engine.connect().execution_options(dpdau_begin="") as connection:
            connection.exec_driver_sql("VACUUM")
        self.scrub()

    def close(self) -> None:
        """Closes all pooled connections. Only tests, and processes before a fork, need this."""
        self._engine.dispose()


def create_or_open(url: str, *, synthetic: bool = False, journal: Recorder | None = None) -> Ledger:
    """Returns the ledger at `url`; it is created and migrated once, even if many processes ask at the same time.

    Args:
        url: SQLAlchemy URL; `sqlite:////absolute/path` in this version.
        synthetic: Whether a new ledger may always use seeded noise; real data must never enter it (public).
        journal: Records every write transaction from the ledger's creation on.

    Raises:
        ConfigurationError: The URL is not SQLite, lies on a network file system, or the ledger exists and holds real
            data although `synthetic` was asked for.
        StorageError: The folder or the database cannot be written.
    """
    parsed = _checked_url(url)
    path = Path(str(parsed.database))
    make_folder(path.parent)
    with FileLock(path.parent / f".{path.name}.lock", timeout_seconds=120):
        ledger = Ledger(parsed, journal=journal)
        try:
            with ledger.write() as connection:
                _migrate(connection)
                _fill_meta(connection, synthetic=synthetic)
        except BaseException:
            ledger.close()
            raise
    return ledger


def open_existing(url: str, *, journal: Recorder | None = None) -> Ledger | None:
    """Returns the ledger at `url`, migrated when it is older than this version; None when there is none.

    Raises:
        ConfigurationError: As in `create_or_open`, or the ledger is newer than this version.
        StorageError: The database cannot be opened.
    """
    parsed = _checked_url(url)
    path = Path(str(parsed.database))
    if not path.is_file() or path.stat().st_size == 0:
        return None
    ledger = Ledger(parsed, journal=journal)
    with ledger.read() as connection:
        revision = _revision(connection)
    if revision == HEAD_REVISION:
        return ledger
    ledger.close()
    return create_or_open(url, journal=journal) if revision is not None else None


def open_copy(path: Path) -> Ledger:
    """Returns the ledger in a copy, migrated to this version and without a journal.

    An empty file gets empty tables and no facts.

    Args:
        path: A file that nobody else uses.

    Raises:
        ConfigurationError: The copy is newer than this version.
        StorageError: It cannot be written.
    """
    ledger = Ledger(_checked_url(f"sqlite:///{path}"))
    with ledger.write() as connection:
        _migrate(connection)
    return ledger


def get_meta(connection: Connection, key: str) -> str | None:
    """The value of a small fact, None when unset."""
    value: str | None = connection.scalar(select(schema.meta.c.value).where(schema.meta.c.key == key))
    return value


def set_meta(connection: Connection, key: str, value: str) -> None:
    """Sets a small fact, replacing an earlier value; the journal records a change."""
    if key not in FACTS_WITHOUT_ENTRY and get_meta(connection, key) != value:
        journal_entries.add_journal_entry(connection, "fact", {"key": key, "value": value})
    statement = upsert(schema.meta).values(key=key, value=value)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
    )


def inserted_number(connection: Connection, statement: Insert) -> int:
    """Runs an insert of one row into a table numbered by the ledger and returns the row's number."""
    keys = connection.execute(statement).inserted_primary_key
    if keys is None:
        raise InternalError("the ledger returned no number for a new row")
    return int(keys[0])


def time_text(moment: datetime) -> str:
    """Returns a time as the ledger stores it: UTC, ISO, always with microseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_time(value: str) -> datetime:
    """The inverse of `time_text`."""
    return datetime.fromisoformat(value)


def _checked_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            "DATABASE_URL is not a database URL", hint="leave it empty, or use sqlite:////absolute/path/ledger.sqlite"
        ) from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(
            f"DATABASE_URL names {parsed.get_backend_name()}; this version keeps its ledger in an SQLite file",
            hint="leave DATABASE_URL empty, or use sqlite:////absolute/path/ledger.sqlite",
        )
    refuse_network_file_system(Path(parsed.database))
    return parsed


def _engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        hide_parameters=True,
        pool_reset_on_return="rollback",
    )

    def set_pragmas(raw: Any, _record: Any) -> None:
        cursor = raw.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get("dpdau_begin", "BEGIN")
        if statement:
            connection.exec_driver_sql(statement)

    event.listen(engine, "connect", set_pragmas)
    event.listen(engine, "begin", begin)
    return engine


def _translate(error: DBAPIError, place: str) -> StorageError | InternalError:
    """Returns our own message for a driver's error; the driver's text is not shown, because it may quote values."""
    name = getattr(error.orig, "sqlite_errorname", "") or type(error.orig).__name__
    if isinstance(error, IntegrityError):
        return InternalError(f"the ledger {place} refused a row that breaks one of its rules ({name})")
    reasons = {
        "SQLITE_BUSY": ("is busy: another writer held it for more than 30 s", "wait for that command, then repeat"),
        "SQLITE_IOERR": (
            "cannot be read or written: its disk is full or fails",
            "free some space or check the disk, then repeat: nothing was half written",
        ),
        "SQLITE_FULL": ("cannot grow: the disk is full", "free some space, then repeat: nothing was half written"),
        "SQLITE_READONLY": ("is not writable", "give this user write access to the file and its folder"),
        "SQLITE_CANTOPEN": ("cannot be opened", "give this user access to the file and its folder"),
        "SQLITE_CORRUPT": ("is damaged", "stop all writers, then run `dpdau restore`"),
        "SQLITE_NOTADB": ("is not an SQLite database", "check DATABASE_URL, or run `dpdau restore`"),
    }
    for prefix, (reason, hint) in reasons.items():
        if name.startswith(prefix):
            kind = LedgerDamagedError if prefix in ("SQLITE_CORRUPT", "SQLITE_NOTADB") else StorageError
            return kind(f"the ledger {place} {reason}", hint=hint)
    if isinstance(error.orig, AssertionError | TypeError | ValueError):
        return InternalError(f"a statement to the ledger is wrong ({name})")
    return StorageError(f"the ledger {place} failed ({name})", hint="check the disk that holds it")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _migrate(connection: Connection) -> None:
    """Brings the tables to HEAD_REVISION inside the caller's transaction."""
    revision = _revision(connection)
    if revision == HEAD_REVISION:
        return
    from dpdau_assets.storage.ledger.migrations.run import is_known, upgrade  # Alembic costs 0.2 s and is rarely needed

    if revision is not None and not is_known(revision):
        raise ConfigurationError(
            f"the ledger was written by a newer version of this program (revision {revision})",
            hint="install that version, or point DATA_DIR at another folder",
        )
    upgrade(connection)


def _fill_meta(connection: Connection, *, synthetic: bool) -> None:
    stored = get_meta(connection, "synthetic")
    if stored is None:
        facts = {
            "ledger_id": secrets.token_hex(16),
            "created_at": time_text(datetime.now(UTC)),
            "synthetic": "true" if synthetic else "false",
        }
        connection.execute(insert(schema.meta), [{"key": key, "value": value} for key, value in facts.items()])
        journal_entries.add_journal_entry(connection, "created", facts)
    elif synthetic and stored != "true":
        raise ConfigurationError(
            "this data folder was created for real data and cannot become a synthetic one",
            hint="use an empty DATA_DIR for synthetic data",
        )


def is_synthetic(connection: Connection) -> bool:
    """Returns whether the ledger was created for synthetic data."""
    return get_meta(connection, "synthetic") == "true"
