"""The laws of `StageEngine`, run for every engine that COMPUTE_ENGINE can name."""

from __future__ import annotations

import hmac
import random
from datetime import date, datetime
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from dpdau_assets.core.activity import REASONS
from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.engines.choose import stage_engine
from dpdau_assets.engines.protocol import IngestErasureFilter
from dpdau_assets.errors import ConfigurationError
from dpdau_tests.support.engine_reads import (
    UTC,
    WINDOW_DAYS,
    Result,
    Row,
    engine_read,
    write_csv,
    write_jsonl,
    write_parquet,
)

IDS = ("a", "ü,\"'", "\u05d0\u200d\u00a0", "𝒳", "x" * 1024, "é", "e\u0301", " a ", "A", "null", "0", "line\nbreak")
KEYS = (b"0123457890abcdef" * 4, b"6" * 64, b"06" * 32)
"""HMAC turns the byte "6" of a key into a NUL, which texts of SQL may not hold; the first key has none."""
ROTATION_DAYS = 20
CALENDAR = EpochCalendar.every(ROTATION_DAYS)
DAYS = tuple(date(2026, month, day) for month in (1, 2, 3, 4) for day in (1, 9, 17, 25))
NEW_YORK = ZoneInfo("America/New_York")

FORMS_OF_TIME: tuple[tuple[str | int | float, date, date], ...] = (
    # what is written, its day in UTC, its day in New York
    ("2026-03-08", date(2026, 3, 8), date(2026, 3, 8)),
    ("  2026-03-08 ", date(2026, 3, 8), date(2026, 3, 8)),
    ("2026-03-08T03:30", date(2026, 3, 8), date(2026, 3, 7)),
    ("2026-03-08 03:30:00", date(2026, 3, 8), date(2026, 3, 7)),
    ("2026-03-08T03:30:59.999999999Z", date(2026, 3, 8), date(2026, 3, 7)),
    ("2026-03-08T03:30:00,5 Z", date(2026, 3, 8), date(2026, 3, 7)),
    ("2026-03-08T23:30:00-05:30", date(2026, 3, 9), date(2026, 3, 9)),
    ("2026-03-08T23:30:00-0030", date(2026, 3, 9), date(2026, 3, 8)),
    ("2026-03-08T23:59:59 +23", date(2026, 3, 8), date(2026, 3, 7)),
    ("1772940600", date(2026, 3, 8), date(2026, 3, 7)),
    ("1772940600.75", date(2026, 3, 8), date(2026, 3, 7)),
    ("1772940600123", date(2026, 3, 8), date(2026, 3, 7)),
    (1772940600, date(2026, 3, 8), date(2026, 3, 7)),
    (1772940600.75, date(2026, 3, 8), date(2026, 3, 7)),
    (1772940600123, date(2026, 3, 8), date(2026, 3, 7)),
    (0, date(1970, 1, 1), date(1969, 12, 31)),  # no day of activity in New York
)

BAD_ROWS: tuple[tuple[Row, str], ...] = (
    (("", "2026-03-01", None), "no_user"),
    (("x" * 1025, "2026-03-01", None), "too_long"),
    (("a", "soon", None), "bad_time"),
    (("a", "2026-02-30", None), "bad_time"),
    (("a", "1969-12-31", None), "bad_time"),
    (("a", "2026-06-03", None), "future"),
    (("a", "2019-12-31", None), "too_old"),
    (("a", "2026-03-01", "delete"), "unknown_op"),
    (("", "soon", "delete"), "no_user"),  # several faults count once, under the first
    (("a", "2019-12-31", "delete"), "too_old"),
)


def key_of(epoch: int) -> bytes:
    """Neighbouring epochs have different keys, with and without the byte "6"."""
    return KEYS[epoch % len(KEYS)]


def pseudonym(epoch: int, user: str) -> int:
    """What Python's own HMAC gives."""
    return int.from_bytes(hmac.new(key_of(epoch), user.encode(), "sha256").digest()[:8], "big")


def expected_keys(rows: list[tuple[str, date]]) -> dict[tuple[date, int], list[int]]:
    """Every user of every day under each epoch in which a window that holds the day may start."""
    keys: dict[tuple[date, int], set[int]] = {}
    for user, day in rows:
        first = CALENDAR.epoch_of(date.fromordinal(day.toordinal() - WINDOW_DAYS + 1))
        for epoch in range(first, CALENDAR.epoch_of(day) + 1):
            keys.setdefault((day, epoch), set()).add(pseudonym(epoch, user))
    return {item: sorted(some) for item, some in keys.items()}


class StageEngineLaws:
    """What every engine promises, beside Python's own HMAC and written-out days; subclasses say which one."""

    engine: ClassVar[str]

    def read(
        self,
        path: Path,
        *,
        zone: ZoneInfo = UTC,
        erasure_filter: IngestErasureFilter | None = None,
        epoch: int | None = None,
    ) -> Result:
        """The source through this engine."""
        return engine_read(
            path,
            zone=zone,
            oldest_day=date(2020, 1, 1) if zone is UTC else date(1970, 1, 1),
            rotation_days=ROTATION_DAYS,
            first_erased_epoch=epoch,
            name=self.engine,
            keys_of=key_of,
            erasure_filter=erasure_filter,
        )

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_pseudonyms_are_bit_equal_to_hmac_under_every_epoch(self, tmp_path: Path, kind: str) -> None:
        """Whatever the id and the bytes of the key, a day has its pseudonyms under each of its epochs, once."""
        pairs = [(user, day) for number, user in enumerate(IDS) for day in DAYS[number % 3 :]]
        rows: list[Row] = [(user, str(day), "+") for user, day in [*pairs, *pairs[::2]]]
        path = tmp_path / f"a.{kind}"
        if kind == "parquet":
            columns = {"user_id": pa.array([row[0] for row in rows]), "ts": pa.array([row[1] for row in rows])}
            write_parquet(path, columns)
        else:
            (write_csv if kind == "csv" else write_jsonl)(path, rows)
        expected = expected_keys(pairs)
        assert {key_of(epoch) for _, epoch in expected} == set(KEYS)
        assert self.read(path).keys == expected

    @pytest.mark.parametrize("kind", ["jsonl", "csv"])
    def test_rows_are_refused_by_reason_and_line(self, tmp_path: Path, kind: str) -> None:
        """A row with a fault counts once, under the first reason that applies, and stops nothing."""
        good: Row = ("b", "2026-03-01", "+")
        rows = [row for bad, _ in BAD_ROWS for row in (good, bad)]
        path = (write_csv if kind == "csv" else write_jsonl)(tmp_path / f"a.{kind}", rows)
        with path.open("ab") as stream:
            stream.write(b'{"user_id": \n' if kind == "jsonl" else b"x\n")
        header = kind == "csv"
        lines: dict[str, tuple[int, ...]] = {}
        for number, (_, reason) in enumerate(BAD_ROWS):
            lines[reason] = (*lines.get(reason, ()), 2 * number + 2 + header)
        lines["malformed"] = (len(rows) + 1 + header,)
        found = self.read(path)
        assert found.counts is not None
        assert found.counts.lines == lines
        assert found.counts.rejected == {reason: len(numbers) for reason, numbers in lines.items()}
        assert list(found.counts.rejected) == [reason for reason in REASONS if reason in lines]
        assert (found.counts.events, found.counts.accepted) == (len(rows) + 1, len(BAD_ROWS))
        assert found.keys == expected_keys([("b", date(2026, 3, 1))])

    @pytest.mark.parametrize("zone", [UTC, NEW_YORK], ids=str)
    def test_each_form_of_time_means_its_day(self, tmp_path: Path, zone: ZoneInfo) -> None:
        """Dates stay, instants take their local day, text and numbers alike; each form has its own user."""
        rows: list[Row] = [(f"form {number}", written, None) for number, (written, _, _) in enumerate(FORMS_OF_TIME)]
        days = {
            f"form {number}": (utc if zone is UTC else local) for number, (_, utc, local) in enumerate(FORMS_OF_TIME)
        }
        oldest = date(2020, 1, 1) if zone is UTC else date(1970, 1, 1)
        accepted = [(user, day) for user, day in days.items() if day >= oldest]
        found = self.read(write_jsonl(tmp_path / "a.jsonl", rows), zone=zone)
        assert found.counts is not None
        assert found.keys == expected_keys(accepted)
        assert found.counts.days == tuple(sorted({day for _, day in accepted}))
        assert found.counts.rejected == {"too_old" if zone is UTC else "bad_time": 1}

    def test_columns_of_days_and_instants_mean_their_day(self, tmp_path: Path) -> None:
        """Parquet's dates stay and its instants take their local day."""
        for name, column, day in (
            ("day", pa.array([date(2026, 3, 8)], pa.date32()), date(2026, 3, 8)),
            ("ts", pa.array([datetime(2026, 3, 8, 3, 30)], pa.timestamp("ns")), date(2026, 3, 7)),
            ("ts", pa.array([1772940600123], pa.int64()), date(2026, 3, 7)),
        ):
            path = write_parquet(tmp_path / f"{name}.parquet", {"user_id": pa.array(["a"]), name: column})
            assert self.read(path, zone=NEW_YORK).keys == expected_keys([("a", day)])

    def test_the_order_of_rows_changes_nothing(self, tmp_path: Path) -> None:
        """Shuffled rows give the same pseudonyms, erasures, days and reasons."""
        rows: list[Row] = [(user, str(day), "-" if day == DAYS[2] else "+") for user in IDS for day in DAYS]
        rows += [row for row, _ in BAD_ROWS]
        shuffled = rows.copy()
        random.Random(20_260_301).shuffle(shuffled)
        epoch = CALENDAR.epoch_of(DAYS[0])
        first, other = (
            self.read(write_jsonl(tmp_path / f"{name}.jsonl", some), epoch=epoch)
            for name, some in (("a", rows), ("b", shuffled))
        )
        assert first.counts is not None and other.counts is not None
        assert (first.keys, first.erased) == (other.keys, other.erased)
        assert first.erased != {}
        assert first.counts.rejected == other.counts.rejected
        assert (first.counts.days, first.counts.accepted) == (other.counts.days, other.counts.accepted)

    def test_minus_rows_erase_up_to_their_last_day_and_count_nobody(self, tmp_path: Path) -> None:
        """An erased id has its pseudonym, once, under every epoch that starts by its last day."""
        rows: list[Row] = [("é", "2026-02-01", "-"), ("é", "2026-04-01", "-"), ("𝒳", "2026-01-09", "-")]
        first = CALENDAR.epoch_of(date(2026, 1, 1))
        found = self.read(write_jsonl(tmp_path / "a.jsonl", rows), epoch=first)
        assert found.counts is not None
        assert (found.keys, found.counts.days) == ({}, ())
        assert (found.counts.erasures, found.counts.accepted) == (3, 3)
        last = {"é": date(2026, 4, 1), "𝒳": date(2026, 1, 9)}
        assert found.erased == {
            epoch: {pseudonym(epoch, user): day for user, day in last.items() if CALENDAR.first_day(epoch) <= day}
            for epoch in range(first, CALENDAR.epoch_of(date(2026, 4, 1)) + 1)
        }

    def test_the_erased_are_left_out_of_earlier_epochs(self, tmp_path: Path) -> None:
        """Up to their last erased day nobody finds them under an epoch before the filter's; later they are new."""
        days = [date(2026, 3, 1), date(2026, 3, 20)]
        pairs = [(user, day) for user in ("é", "𝒳") for day in days]
        epoch = CALENDAR.epoch_of(days[1])
        erasure_filter = IngestErasureFilter(
            epoch, np.array([pseudonym(epoch, "é")], np.uint64), np.array(["2026-03-05"], "datetime64[D]")
        )
        path = write_jsonl(tmp_path / "a.jsonl", [(user, str(day), None) for user, day in pairs])
        found = self.read(path, erasure_filter=erasure_filter)
        assert found.keys == expected_keys([pair for pair in pairs if pair != ("é", days[0])])


class TestDuckdbEngine(StageEngineLaws):
    engine = "duckdb"


class TestChoice:
    @pytest.mark.parametrize("name", ["spark", "", "DuckDB"])
    def test_an_engine_that_is_not_there_is_refused_in_one_line(self, name: str) -> None:
        """Another name than an engine's is never taken for one."""
        with pytest.raises(ConfigurationError) as refusal:
            stage_engine(name, memory_limit="1GB", threads=None)
        assert f"COMPUTE_ENGINE={name} " in refusal.value.message
        assert "\n" not in refusal.value.message
        assert "duckdb" in refusal.value.hint
