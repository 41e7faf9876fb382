"""A source as SQL over an open connection: judged rows, and the aggregate of them into day bitmaps.

Belongs here: how often and in which way a source is scanned. Does not belong here: the expressions (`row_sql`,
`relations`), what the bitmaps become (`duckdb`).

A Parquet file is scanned by DuckDB itself; every other source, and a Parquet file with a text that is not UTF-8, is
streamed through Arrow and can be read once per stream.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from dpdau_assets.core.quantities import ONE_DAY
from dpdau_assets.engines.duckdb.day_bitmaps import BLOCK_DAYS
from dpdau_assets.engines.duckdb.relations import (
    ARROW_VIEW,
    ZONE_VIEW,
    Relation,
    can_scan_directly,
    coded_rows,
    json_rows,
    parquet_scan,
    table_rows,
)
from dpdau_assets.engines.duckdb.row_sql import ERASING, NO_INSTANT, date_moment, day_bit, verdict
from dpdau_assets.engines.duckdb.zone_days import zone_days
from dpdau_assets.engines.protocol import LINES_KEPT, ReadProgress, RowLimits
from dpdau_assets.engines.sources.source import Source

POLL_SECONDS = 0.25


class SourceRows:
    """The rows of one source; prints as nothing.

    Args:
        connection: Holds raw ids, so it must not spill.
        source: What to read.
        limits: What is accepted.
        progress: Receives the progress of the reading.
        is_direct: Whether DuckDB scans the file itself.

    Attributes:
        alignment: See `day_bitmaps`.
        is_direct: Whether DuckDB scans the file itself.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        limits: RowLimits,
        *,
        progress: ReadProgress,
        is_direct: bool,
    ) -> None:
        self._connection = connection
        self._source = source
        self._limits = limits
        self._progress = progress
        self.is_direct = is_direct
        zone_table = zone_days(limits.zone, limits.today + ONE_DAY)
        self._has_zone = zone_table is not None
        if zone_table is not None:
            connection.register(ZONE_VIEW, zone_table)
        self.alignment = self._first_day_alignment() if is_direct else 0
        self._common_day = self._day_of_the_only_block() if is_direct else None

    def aggregate(self, part: str) -> None:
        """Makes the table activity: one word, count and list of line numbers per id and block, for the ids of `part`.

        Refused rows are groups without an id, under the negative code of their reason; only streams have numbers. Where
        `uncounted` is a number, row_count is empty.
        """
        with self._watched():
            if self._common_day is not None:
                self._connection.execute(self._plain_aggregate(part, self._common_day))
                return
            lines = "NULL" if self.is_direct else f"min(number, {LINES_KEPT}) FILTER (code < 0)"
            self._connection.execute(
                f"CREATE TEMP TABLE activity AS SELECT CASE WHEN code >= 0 THEN user_id END AS user_id, code, "
                f"bit_or({day_bit(self.alignment)}) AS word, count(*) AS row_count, {lines} AS numbers "
                f"FROM ({self._coded(self._relation())}) WHERE {part} GROUP BY 1, 2"
            )

    def refused(self, part: str) -> list[tuple[Any, ...]]:
        """(code, rows, first row numbers) of the refused rows of `part`; a direct scan reads the file once more."""
        if not self.is_direct:
            return self._fetch("SELECT code, row_count, numbers FROM activity WHERE code < 0")
        rows = self._coded(self._relation())
        return self._fetch(
            f"SELECT code, count(*), min(number, {LINES_KEPT}) FROM ({rows}) WHERE code < 0 AND {part} GROUP BY code"
        )

    @property
    def uncounted(self) -> int | None:
        """Returns the number of rows of the source if `aggregate` leaves row_count empty, else None; sensitive."""
        if self._common_day is None:
            return None
        ((total,),) = self._fetch(f"SELECT count(*) FROM ({parquet_scan(self._source)})")
        return int(total)

    def _plain_aggregate(self, part: str, day: int) -> str:
        """Returns the aggregate for rows whose days are all valid and in one block: ids are judged after grouping.

        It saves a quarter of the time: it groups by one key instead of two, judges ids instead of rows and does not
        count an id's rows. If a row belongs to another block, DuckDB raises an error at the shift of its bit.
        """
        rows = self._coded(self._relation())
        first = (day + self.alignment) // BLOCK_DAYS * BLOCK_DAYS - self.alignment
        grouped = (
            f"SELECT user_id, bit_or(1::UBIGINT << (local_day - {first})::UTINYINT) AS word "
            f"FROM ({rows}) WHERE {part} GROUP BY user_id"
        )
        days = f"SELECT *, NULL AS fault, NULL AS op, {day} AS local_day FROM ({grouped})"
        judged = f"SELECT *, {self._verdict()} AS code FROM ({days})"
        user_id = "CASE WHEN code >= 0 THEN user_id END AS user_id"
        return f"CREATE TEMP TABLE activity AS SELECT {user_id}, code, word, NULL::BIGINT AS row_count FROM ({judged})"

    def _verdict(self) -> str:
        return verdict(self._limits.today + ONE_DAY, oldest_day=self._limits.oldest_day, alignment=self.alignment)

    def _coded(self, relation: Relation) -> str:
        return coded_rows(relation, self._verdict(), has_zone=self._has_zone)

    def _relation(self) -> Relation:
        """The rows of the source; a stream is opened anew."""
        if self.is_direct:
            return table_rows(self._source, parquet_scan(self._source), self._connection)
        from dpdau_assets.engines.sources.arrow_rows import ArrowRows  # Arrow's functions are loaded for streams only

        rows = ArrowRows(self._source, self._progress)
        self._connection.register(ARROW_VIEW, rows.reader())
        if self._source.format == "jsonl":
            return json_rows(self._source)
        return table_rows(self._source, f"SELECT * FROM {ARROW_VIEW}", self._connection)

    def _first_day_alignment(self) -> int:
        """Returns the alignment that lets a block begin with the file's first day: 64 days then fit into one block."""
        scan = parquet_scan(self._source)
        try:
            ((first,),) = self._fetch(f"SELECT min(time0)::DATE - DATE '1970-01-01' FROM ({scan})")
        except duckdb.ConversionException:
            return 0
        return -int(first or 0) % BLOCK_DAYS

    def _day_of_the_only_block(self) -> int | None:
        """Returns a day of the block that all rows belong to; None if there are more blocks or some row may be refused.

        It reads only the columns of time and op, which costs little compared to the ids. For dates it reads no column:
        DuckDB takes the first and the last from the file's statistics; if these are wrong, `_plain_aggregate` fails.
        """
        relation = self._relation()
        if not relation.is_fault_free:
            return None
        columns = self._source.columns
        has_dates_only = not relation.has_instants and columns.op is None and len(columns.times) == 1
        judged = self._first_and_last_date() if has_dates_only else relation.sql
        nobody = f"SELECT number, fault, 'x' AS user_id, op, day_number, instant FROM ({judged})"
        rows = self._coded(Relation(nobody, relation.has_instants, relation.is_fault_free))
        ((first, last, day),) = self._fetch(f"SELECT min(code), max(code), max(local_day) FROM ({rows})")
        return int(day) if first is not None and first == last and 0 <= first < ERASING else None

    def _first_and_last_date(self) -> str:
        """Returns a SELECT of two rows with the columns of a relation; it gives no row if some row has no date."""
        scan = parquet_scan(self._source)
        extremes = (
            f"SELECT min(time0) AS low, max(time0) AS high, count(time0) AS dated, count(*) AS total FROM ({scan})"
        )
        dates = f"SELECT unnest([low::DATE, high::DATE]) AS moment0 FROM ({extremes}) WHERE dated = total"
        moment = f"{date_moment('moment0').day} AS day_number, {NO_INSTANT} AS instant"
        return f"SELECT 0 AS number, NULL AS fault, NULL AS op, {moment} FROM ({dates})"

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Reports the progress of a direct scan; a stream reports its own."""
        if not self.is_direct:
            yield
            return
        done = threading.Event()

        def poll() -> None:
            while not done.wait(POLL_SECONDS):
                percent = self._connection.query_progress()
                if percent >= 0:
                    self._progress(min(100, int(percent)), 100)

        watcher = threading.Thread(target=poll, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query).fetchall()


def may_be_direct(source: Source) -> bool:
    """Returns whether DuckDB can try to scan the source itself."""
    return source.format == "parquet" and can_scan_directly(source)
