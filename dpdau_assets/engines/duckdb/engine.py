"""The stage engine on DuckDB: one aggregate over the rows, one HMAC per distinct id and epoch, then sorted days.

Belongs here: the queries and their memory. Does not belong here: formats (`sources`, `arrow_rows`), the judgement of a
row (`row_sql`, `relations`), files (`operations`).

A user's days are one 64-bit word per block of 64 days: `bit_or(1 << day)` grouped by id and block. Refused rows are
groups of the same aggregate, with the negative code of their reason in place of a block. Raw ids exist in this
connection's memory only: it has no temporary directory, so it cannot spill. A source that does not fit into the memory
limit is read again in parts, by a hash of the id. Error texts of DuckDB may quote values, so none is passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.duckdb.day_bitmaps import EpochPlan, day_bitmaps_after, day_number, epoch_plans, split_days
from dpdau_assets.engines.duckdb.pseudonyms import column_user_keys
from dpdau_assets.engines.duckdb.row_sql import ERASING
from dpdau_assets.engines.duckdb.source_rows import SourceRows, may_be_direct
from dpdau_assets.engines.duckdb.tally import Tally
from dpdau_assets.engines.protocol import DayKeys, ErasedKeys, Pseudonymiser, ReadProgress, RowCounts, RowLimits
from dpdau_assets.engines.sources.source import Source
from dpdau_assets.errors import StorageError

SPLIT_THREADS = 2
"""Days selected at once where DUCKDB_THREADS is not set."""
SPLIT = 4
"""Number of smaller parts that replace a part that does not fit into the memory limit."""
MOST_PARTS = 4096


@dataclass(frozen=True, slots=True)
class DuckdbEngine:
    """The stage engine on DuckDB, see `StageEngine` (public).

    Attributes:
        memory_limit: Limit of DuckDB's memory, such as `1GB`.
        threads: DuckDB's threads; None lets DuckDB decide.
    """

    memory_limit: str = "1GB"
    threads: int | None = None

    @contextmanager
    def read(
        self,
        source: Source,
        pseudonymiser: Pseudonymiser,
        *,
        limits: RowLimits,
        sink: Callable[[DayKeys], None],
        progress: ReadProgress,
    ) -> Iterator[DuckdbReading]:
        """Reads `source`; see `StageEngine.read`."""
        with self._connect() as connection:
            reading = DuckdbReading(connection, source, pseudonymiser, limits=limits, sink=sink, progress=progress)
            reading.run(threads=self.threads)
            yield reading

    @contextmanager
    def _connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens a connection that cannot spill: the empty setting means that it has no temporary directory."""
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": self.memory_limit,
            "temp_directory": "",
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        if self.threads is not None:
            config["threads"] = self.threads
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute("SET enable_progress_bar = true")
            connection.execute("SET enable_progress_bar_print = false")
            yield connection
        finally:
            connection.close()


class DuckdbReading:
    """One source being read; see `Reading`. Its attributes print as nothing."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        pseudonymiser: Pseudonymiser,
        *,
        limits: RowLimits,
        sink: Callable[[DayKeys], None],
        progress: ReadProgress,
    ) -> None:
        self._connection = connection
        self._source = source
        self._pseudonymiser = pseudonymiser
        self._sink = sink
        self._limits = limits
        self._progress = progress
        self._tally = Tally(0)
        self._erased_through = -1
        self._threads: int | None = None

    @property
    def counts(self) -> RowCounts:
        """Returns how many rows were accepted and refused, and why."""
        return self._tally.counts()

    @property
    def erased_through(self) -> date | None:
        """The last day of any accepted "-" row, None without one."""
        return None if self._erased_through < 0 else EARLIEST_DAY + timedelta(days=self._erased_through)

    def run(self, *, threads: int | None) -> None:
        """Reads the complete source. DuckDB refuses a Parquet file with a text that is not UTF-8; Arrow streams it."""
        self._threads = threads
        try:
            self._connection.execute("CREATE TEMP TABLE erased (user_id VARCHAR, through_day BIGINT)")
            if may_be_direct(self._source):
                with suppress(duckdb.Error):
                    self._read(is_direct=True)
                    return
                self._connection.execute("DROP TABLE IF EXISTS activity")
            self._read(is_direct=False)
        except duckdb.OutOfMemoryException:
            raise _too_little_memory() from None
        except duckdb.Error:
            raise self._source.unreadable() from None

    def erased_keys(self, epochs: Sequence[int], *, of_everybody: int) -> Iterator[ErasedKeys]:
        """The pseudonyms of the ids in "-" rows; see `Reading.erased_keys`."""
        calendar = self._pseudonymiser.calendar
        for epoch in epochs:
            first_day = 0 if epoch == of_everybody else day_number(calendar.first_day(epoch))
            if first_day > self._erased_through:
                continue
            rows = self._pseudonyms(epoch, _erased_query(first_day))
            order = np.lexsort((rows["through_day"], rows["user_key"]))
            keys, days = rows["user_key"][order], rows["through_day"][order]
            is_last = np.append(keys[1:] != keys[:-1], np.ones(min(len(keys), 1), dtype=np.bool_))
            yield ErasedKeys(epoch, keys[is_last], days[is_last].astype("datetime64[D]"))

    def _read(self, *, is_direct: bool) -> None:
        rows = SourceRows(self._connection, self._source, self._limits, progress=self._progress, is_direct=is_direct)
        self._tally = Tally(rows.alignment)
        self._read_part(rows, 1, 0)
        if rows.uncounted is not None:
            self._tally.accept_others(rows.uncounted)

    def _read_part(self, rows: SourceRows, parts: int, index: int) -> None:
        """Reads the rows whose id hashes to `index` of `parts`; a part that does not fit into memory is divided."""
        part = _part(parts, index)
        try:
            rows.aggregate(part)
        except duckdb.OutOfMemoryException:
            self._connection.execute("DROP TABLE IF EXISTS activity")
            if parts * SPLIT > MOST_PARTS:
                raise _too_little_memory() from None
            for step in range(SPLIT):
                self._read_part(rows, parts * SPLIT, index + step * parts)
            return
        groups = self._connection.execute("SELECT code, sum(row_count), bit_or(word) FROM activity GROUP BY code")
        days, has_refused = self._tally.add_groups(groups.fetchall())
        if has_refused:
            self._tally.add_refused(rows.refused(part))
        self._keep_erased(rows.alignment)
        calendar, window_days = self._pseudonymiser.calendar, self._pseudonymiser.window_days
        for plan in epoch_plans(days, calendar, window_days=window_days, alignment=rows.alignment):
            self._emit(plan, rows.alignment)
        self._connection.execute("DROP TABLE activity")

    def _keep_erased(self, alignment: int) -> None:
        """Adds the ids of "-" rows with their last day: the highest bit of the highest block."""
        day = f"(((code - {ERASING})::BIGINT << 6) + length(bin(word)) - 1 - {alignment})"
        self._connection.execute(
            f"INSERT INTO erased SELECT user_id, max({day}) FROM activity WHERE code >= {ERASING} GROUP BY user_id"
        )
        ((last,),) = self._connection.execute("SELECT max(through_day) FROM erased").fetchall()
        self._erased_through = -1 if last is None else int(last)

    def _emit(self, plan: EpochPlan, alignment: int) -> None:
        """Sends the keys of every day that is keyed under the epoch of `plan`."""
        rows = self._pseudonyms(plan.epoch, lambda part: plan.query(part=part), alignment=alignment)
        columns = rows["user_key"], rows["code"], rows["word"]
        days = split_days(*columns, plan=plan, alignment=alignment, threads=self._threads or SPLIT_THREADS)
        for day, keys in days:
            self._sink(DayKeys(day, plan.epoch, keys))

    def _pseudonyms(
        self, epoch: int, query_of: Callable[[str], str], *, alignment: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Returns a query's columns, with user_id as user_key under `epoch`; in pieces when memory is short.

        With `alignment` the columns code and word describe days, and the ingest erasure filter applies.
        """
        parts = 1
        while parts <= MOST_PARTS:
            try:
                queries = [query_of(_part(parts, index)) for index in range(parts)]
                pieces = [self._keyed(query, epoch, alignment) for query in queries]
                return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
            except duckdb.OutOfMemoryException:
                parts *= SPLIT
        raise _too_little_memory()

    def _keyed(self, query: str, epoch: int, alignment: int | None) -> dict[str, NDArray[Any]]:
        """One query's columns, with user_key in place of user_id."""
        table: pa.Table = self._connection.sql(query).to_arrow_table()
        ids, key_of, erased = table.column("user_id"), self._pseudonymiser.key_of, self._pseudonymiser.erasure_filter
        numbers = [name for name in table.column_names if name != "user_id"]
        # Arrow's own to_numpy imports pandas, which takes half a second
        columns: dict[str, NDArray[Any]] = {
            name: np.from_dlpack(table.column(name).combine_chunks()) for name in numbers
        }
        columns["user_key"] = column_user_keys(ids, key_of(epoch), threads=self._threads)
        if alignment is not None and erased is not None and epoch < erased.epoch:
            through = erased.erased_through(column_user_keys(ids, key_of(erased.epoch), threads=self._threads))
            columns["word"] = day_bitmaps_after(columns["code"], columns["word"], through, alignment=alignment)
        return columns


def _part(parts: int, index: int) -> str:
    """SQL truth of the ids that hash to `index` of `parts`."""
    return f"hash(user_id) % {parts} = {index}" if parts > 1 else "true"


def _erased_query(first_day: int) -> Callable[[str], str]:
    query = f"SELECT user_id, through_day FROM erased WHERE through_day >= {first_day}"
    return lambda part: f"{query} AND {part}"


def _too_little_memory() -> StorageError:
    return StorageError(
        "the memory limit is too small to read this source without writing ids to disk",
        hint="raise DUCKDB_MEMORY_LIMIT, or split the file",
    )
