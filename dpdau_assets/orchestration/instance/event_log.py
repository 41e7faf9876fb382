"""Dagster's own SQLite event log, with connections that stay open: a range run costs a quarter of the time.

Dagster concept: the instance's storage, named by `dagster.yaml`. What events mean does not belong here. The stock
storage makes a new engine for every event, compiles its statements anew and waits for the disk twice; with a thousand
partitions that is most of a run. Here engines are kept, and the disk is waited for at checkpoints only: a power cut may
take the last events, which the ledger tells Dagster again, and never damages the file.

This overrides private parts of Dagster, whose version is pinned; `dagster.yaml` without `instance_class` goes back to
the stock storage over the same files.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event

ENGINES_KEPT = 8
"""The index and the runs last written or looked at."""


class PooledEventLog(SqliteEventLogStorage):
    """The same files and tables as the stock storage."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledEventLog:
        """As Dagster asks for it."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A connection to one shard, in a transaction."""
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    @property
    def open_shards(self) -> int:
        """How many shards have connections that are kept."""
        return len(self._engines)

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
            )
            event.listen(engine, "connect", _wait_for_the_disk_at_checkpoints)
        self._engines[shard] = engine
        while len(self._engines) > ENGINES_KEPT:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def dispose(self) -> None:
        """Closes every connection."""
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()


def _wait_for_the_disk_at_checkpoints(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")


class HomeStorage(DagsterSqliteStorage):
    """The stock SQLite storage of a home with that event log."""

    _event_log_storage: SqliteEventLogStorage

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        stock = self._event_log_storage
        self._event_log_storage = PooledEventLog(stock._base_dir)
        stock.dispose()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HomeStorage:
        """As Dagster asks for it."""
        return cls.from_local(inst_data=inst_data, **config_value)


class HomeInstance(dg.DagsterInstance):
    """A Dagster instance whose default storage is `HomeStorage`; whatever `dagster.yaml` says still wins."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """No settings of its own."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, ConfigurableClassData | None]:
        """Dagster's defaults but for the storage; the home may be moved."""
        storage = ConfigurableClassData(__name__, HomeStorage.__name__, json.dumps({"base_dir": base_dir}))
        return {**InstanceRef.config_defaults(base_dir), "storage": storage}
