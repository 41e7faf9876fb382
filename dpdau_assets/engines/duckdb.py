"""The stage engine on DuckDB: one aggregate over the rows, one HMAC per distinct id and epoch, then sorted days.

Belongs here: the queries and their memory. Does not belong here: formats (`sources`, `arrow_rows`), the judgement of a
row (`row_sql`, `relations`), files (`operations`).

A user's days are one 64-bit word per block of 64 days: `bit_or(1 << day)` grouped by id and block. Refused rows are
groups of the same aggregate, with the negative code of their reason in place of a block. Raw ids exist in this
connection's memory only: it has no temporary directory, so it cannot spill. What does not fit into the memory limit is
read again in parts by a hash of the id. Error texts of DuckDB may quote values, so none is passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.engines.arrow_rows import ArrowRows
from dpdau_assets.engines.day_words import BLOCK_DAYS, EpochPlan, day_number, epoch_plans, split_days
from dpdau_assets.engines.protocol import (
    LINES_KEPT,
    DayKeys,
    ErasedKeys,
    Pseudonymiser,
    ReadProgress,
    RowCounts,
    RowLimits,
)
from dpdau_assets.engines.relations import (
    ARROW_VIEW,
    ZONE_VIEW,
    Relation,
    can_scan_directly,
    coded_rows,
    json_rows,
    parquet_scan,
    table_rows,
)
from dpdau_assets.engines.row_sql import ERASING, USER_KEY, day_bit, hmac_pads
from dpdau_assets.engines.sources import Source
from dpdau_assets.engines.tally import Tally
from dpdau_assets.engines.zone_days import zone_days
from dpdau_assets.errors import StorageError

SPLIT = 4
"""Parts that a part is cut into when it does not fit into the memory limit."""
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
            reading.run()
            yield reading

    @contextmanager
    def _connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that cannot spill: an empty temporary directory means none."""
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
        self._limits = limits
        self._sink = sink
        self._progress = progress
        self._tally = Tally(0)
        self._is_direct = source.format == "parquet" and can_scan_directly(source)
        self._alignment = 0
        self._has_zone = False
        self._erased_through = -1

    @property
    def counts(self) -> RowCounts:
        """What became of the rows."""
        return self._tally.counts()

    @property
    def erased_through(self) -> date | None:
        """The last day of any accepted "-" row, None without one."""
        return None if self._erased_through < 0 else EARLIEST_DAY + timedelta(days=self._erased_through)

    def run(self) -> None:
        """Reads the source whole. DuckDB refuses a Parquet file with one text that is not UTF-8; Arrow streams it."""
        self._connection.execute("CREATE TEMP TABLE erased (user_id VARCHAR, through_day BIGINT)")
        zone_table = zone_days(self._limits.zone, self._limits.today + ONE_DAY)
        if zone_table is not None:
            self._connection.register(ZONE_VIEW, zone_table)
            self._has_zone = True
        try:
            if self._is_direct:
                try:
                    self._alignment = self._first_day_alignment()
                    self._tally = Tally(self._alignment)
                    self._read_part(1, 0)
                    return
                except duckdb.Error:
                    self._is_direct, self._alignment, self._tally = False, 0, Tally(0)
                    self._connection.execute("DROP TABLE IF EXISTS activity")
            self._read_part(1, 0)
        except duckdb.Error:
            raise self._source.unreadable() from None

    def erased_keys(self, first_epoch: int) -> Iterator[ErasedKeys]:
        """The pseudonyms of the ids in "-" rows; see `Reading.erased_keys`."""
        calendar = self._pseudonymiser.calendar
        epoch = first_epoch
        while day_number(calendar.first_day(epoch)) <= self._erased_through:
            rows = self._pseudonyms(epoch, _erased_query(day_number(calendar.first_day(epoch))))
            order = np.lexsort((rows["through_day"], rows["user_key"]))
            keys, days = rows["user_key"][order], rows["through_day"][order]
            is_last = np.append(keys[1:] != keys[:-1], np.ones(min(len(keys), 1), dtype=np.bool_))
            yield ErasedKeys(epoch, keys[is_last], days[is_last].astype("datetime64[D]"))
            epoch += 1

    def _read_part(self, parts: int, index: int) -> None:
        """Reads the rows whose id hashes to `index` of `parts`; cuts the part when it does not fit into memory."""
        try:
            self._aggregate(parts, index)
        except duckdb.OutOfMemoryException:
            self._connection.execute("DROP TABLE IF EXISTS activity")
            if parts * SPLIT > MOST_PARTS:
                raise _too_little_memory() from None
            for step in range(SPLIT):
                self._read_part(parts * SPLIT, index + step * parts)
            return
        groups = self._fetch("SELECT code, sum(row_count), bit_or(word) FROM activity GROUP BY code")
        days = self._tally.add_groups(groups)
        self._tally_lines(parts, index)
        self._keep_erased()
        calendar, window_days = self._pseudonymiser.calendar, self._pseudonymiser.window_days
        for plan in epoch_plans(days, calendar, window_days=window_days, alignment=self._alignment):
            self._emit(plan)
        self._connection.execute("DROP TABLE activity")

    def _aggregate(self, parts: int, index: int) -> None:
        """Makes the table activity: one word per id and block; refused rows are groups without an id."""
        lines = "NULL" if self._is_direct else f"min(number, {LINES_KEPT}) FILTER (code < 0)"
        self._connection.execute(
            f"CREATE TEMP TABLE activity AS SELECT CASE WHEN code >= 0 THEN user_id END AS user_id, code, "
            f"bit_or({day_bit(self._alignment)}) AS word, count(*) AS row_count, {lines} AS numbers "
            f"FROM ({self._coded_rows(parts, index)}) GROUP BY 1, 2"
        )

    def _coded_rows(self, parts: int, index: int) -> str:
        rows = coded_rows(self._relation(), self._limits, alignment=self._alignment, has_zone=self._has_zone)
        return f"SELECT * FROM ({rows})" + (f" WHERE hash(user_id) % {parts} = {index}" if parts > 1 else "")

    def _relation(self) -> Relation:
        """The rows of the source; a stream is opened anew, since it can be read once."""
        if self._is_direct:
            return table_rows(self._source, parquet_scan(self._source), self._connection)
        rows = ArrowRows(self._source, self._progress)
        self._connection.register(ARROW_VIEW, rows.reader())
        if self._source.format == "jsonl":
            return json_rows(self._source)
        return table_rows(self._source, f"SELECT * FROM {ARROW_VIEW}", self._connection)

    def _first_day_alignment(self) -> int:
        """What makes the first day of a Parquet file the first of a block: 64 days or fewer are then one block."""
        try:
            (first,) = self._fetch(f"SELECT min(time0)::DATE - DATE '1970-01-01' FROM ({parquet_scan(self._source)})")[
                0
            ]
        except duckdb.ConversionException:
            return 0
        return -int(first or 0) % BLOCK_DAYS

    def _tally_lines(self, parts: int, index: int) -> None:
        if not self._is_direct:
            self._tally.add_lines(self._fetch("SELECT code, numbers FROM activity WHERE code < 0"))
        elif self._tally.has_refused:
            rows = self._coded_rows(parts, index)
            query = f"SELECT code, min(number, {LINES_KEPT}) FROM ({rows}) WHERE code < 0 GROUP BY code"
            self._tally.add_lines(self._fetch(query))

    def _keep_erased(self) -> None:
        """Adds the ids of "-" rows with their last day: the highest bit of the highest block."""
        day = f"(((code - {ERASING})::BIGINT << 6) + length(bin(word)) - 1 - {self._alignment})"
        self._connection.execute(
            f"INSERT INTO erased SELECT user_id, max({day}) FROM activity WHERE code >= {ERASING} GROUP BY user_id"
        )
        (last,) = self._fetch("SELECT max(through_day) FROM erased")[0]
        self._erased_through = -1 if last is None else int(last)

    def _emit(self, plan: EpochPlan) -> None:
        """Sends the keys of every day that is keyed under the epoch of `plan`."""
        rows = self._pseudonyms(plan.epoch, lambda part: plan.query(USER_KEY, part=part))
        days = split_days(rows["user_key"], rows["code"], rows["word"], plan=plan, alignment=self._alignment)
        for day, keys in days:
            self._sink(DayKeys(day, plan.epoch, keys))

    def _pseudonyms(self, epoch: int, query_of: Callable[[str], str]) -> dict[str, NDArray[Any]]:
        """The result of a query with `USER_KEY` under the key of `epoch`; in pieces when memory is short."""
        pads = hmac_pads(self._pseudonymiser.key_of(epoch))
        parts = 1
        while parts <= MOST_PARTS:
            try:
                queries = [
                    query_of(f"hash(user_id) % {parts} = {index}" if parts > 1 else "true") for index in range(parts)
                ]
                pieces = [self._connection.execute(query, pads).fetchnumpy() for query in queries]
                return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
            except duckdb.OutOfMemoryException:
                parts *= SPLIT
        raise _too_little_memory()

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()


def _erased_query(first_day: int) -> Callable[[str], str]:
    query = f"SELECT {USER_KEY} AS user_key, through_day FROM erased WHERE through_day >= {first_day}"
    return lambda part: f"{query} AND {part}"


def _too_little_memory() -> StorageError:
    return StorageError(
        "the memory limit is too small to read this source without writing ids to disk",
        hint="raise DUCKDB_MEMORY_LIMIT, or split the file",
    )
