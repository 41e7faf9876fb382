"""Parquet files of dates: what their statistics say saves a reading, and decides nothing."""

from __future__ import annotations

import struct
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_tests.support.engine_reads import Row, engine_read, naive_read

FIRST = date(2026, 1, 1)
TODAY_AFTER = date(2026, 12, 1)


def write_dates(path: Path, days: list[date | None], *, statistics: bool = True) -> list[Row]:
    """A file of three users' dates; returns its rows."""
    users = [f"u{index % 3}" for index in range(len(days))]
    table = pa.table({"user_id": users, "day": pa.array(days, pa.date32())})
    pq.write_table(table, path, row_group_size=20, write_statistics=statistics)
    return [(user, day, None) for user, day in zip(users, days, strict=True)]


def assert_read(path: Path, rows: list[Row]) -> None:
    expected, rejected = naive_read(rows)
    found = engine_read(path)
    assert found.counts is not None
    assert found.keys == expected.keys
    assert found.counts.rejected == rejected
    assert found.counts.events == len(rows)


class TestDates:
    @pytest.mark.parametrize("statistics", [True, False])
    @pytest.mark.parametrize("span", [1, 64, 65, 140])
    def test_every_span_is_read_as_core_reads_it(self, tmp_path: Path, span: int, statistics: bool) -> None:
        """From one day to several blocks of 64, with statistics and without."""
        days: list[date | None] = [FIRST + timedelta(days=index * 7 % span) for index in range(150)]
        rows = write_dates(tmp_path / "a.parquet", days, statistics=statistics)
        assert_read(tmp_path / "a.parquet", rows)

    @pytest.mark.parametrize("odd", [None, date(1969, 12, 31), TODAY_AFTER, date(9999, 12, 31)], ids=str)
    def test_one_row_that_is_refused_is_refused_alone(self, tmp_path: Path, odd: date | None) -> None:
        """A missing date, one before 1970 or after today among good ones of one block."""
        days: list[date | None] = [FIRST + timedelta(days=index % 30) for index in range(100)]
        days[57] = odd
        assert_read(tmp_path / "a.parquet", write_dates(tmp_path / "a.parquet", days))

    @pytest.mark.parametrize("missing", [40, 63])
    def test_no_row_moves_when_the_statistics_are_wrong(self, tmp_path: Path, missing: int) -> None:
        """Where a file says that its dates end earlier than they do, each row still counts on its own day."""
        days: list[date | None] = [FIRST + timedelta(days=index) for index in range(100)]
        path = tmp_path / "a.parquet"
        rows = write_dates(path, days)
        content = bytearray(path.read_bytes())
        numbers = [(FIRST - date(1970, 1, 1)).days + index for index in range(100)]
        footer = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]
        replaced = 0
        for number in numbers[missing:]:
            true, false = struct.pack("<i", number), struct.pack("<i", numbers[missing - 1])
            replaced += content[footer:].count(true)
            content[footer:] = content[footer:].replace(true, false)
        assert replaced
        path.write_bytes(content)
        metadata = pq.read_metadata(path)
        ends = [metadata.row_group(group).column(1).statistics.max for group in range(metadata.num_row_groups)]
        assert max(ends) == FIRST + timedelta(days=missing - 1)
        assert_read(path, rows)
