"""The engine on DuckDB: whole sources against the same rows taken one by one through core."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.hashing import EpochCalendar, user_key
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.protocol import LINES_KEPT
from dpdau_assets.engines.sources.text_blocks import MAX_LINE_BYTES
from dpdau_assets.errors import InputError, StorageError
from dpdau_tests.support.engine_reads import (
    Result,
    Row,
    engine_read,
    key_of,
    naive_read,
    write_csv,
    write_jsonl,
    write_parquet,
)

VIENNA = ZoneInfo("Europe/Vienna")
IDS = ("a", "b", "ü,\"'", "\u05d0\u200d\u00a0", "𝒳", "x" * 1024, "x" * 1025, "line\nbreak", " a ", "null", "0")


def drawn_rows(count: int, *, seed: int, days: int = 400) -> list[Row]:
    """Rows with every kind of fault, over more than one epoch."""
    rng = np.random.default_rng(seed)
    start = datetime(2024, 11, 3, 23, 30)
    rows: list[Row] = []
    for _ in range(count):
        moment = start + timedelta(minutes=int(rng.integers(0, days * 1440)))
        times = [
            moment.isoformat(),
            str(moment.date()),
            f"{moment}+05:30",
            int(moment.timestamp()),
            "soon",
            "",
            "2027-01-01",
        ]
        user = None if rng.random() < 0.05 else "" if rng.random() < 0.05 else IDS[int(rng.integers(len(IDS)))]
        op = (None, "+", "", "x", "-")[int(rng.choice(5, p=[0.6, 0.2, 0.1, 0.05, 0.05]))]
        rows.append((user, times[int(rng.choice(7, p=[0.3, 0.2, 0.2, 0.15, 0.05, 0.05, 0.05]))], op))
    return rows


def assert_equal(found: Result, expected: Result, rejected: Counter[str]) -> None:
    """The same keys on the same days under the same epochs, and the same reasons."""
    assert found.counts is not None
    assert found.keys == expected.keys
    assert found.counts.rejected == rejected
    assert found.counts.days == tuple(sorted({day for day, _ in expected.keys}))
    assert {reason: len(lines) for reason, lines in found.counts.lines.items()} == rejected


class TestAgainstCore:
    @pytest.mark.parametrize("zone", [ZoneInfo("UTC"), VIENNA], ids=str)
    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "jsonl.gz"])
    def test_every_format_gives_what_core_gives_row_by_row(self, tmp_path: Path, kind: str, zone: ZoneInfo) -> None:
        """Keys, days, epochs and reasons equal the reference for JSONL, CSV, Parquet text and gzip."""
        rows = drawn_rows(3000, seed=5)
        path = tmp_path / f"a.{kind}"
        if kind == "csv":
            write_csv(path, rows)
        elif kind == "parquet":
            columns = {"op": pa.array([row[2] for row in rows]), "user_id": pa.array([row[0] for row in rows])}
            write_parquet(path, {**columns, "ts": pa.array([str(row[1]) for row in rows])})
        else:
            write_jsonl(path, rows)
            if kind.endswith("gz"):
                path.write_bytes(gzip.compress(path.read_bytes()))
        found = engine_read(path, zone=zone)
        assert_equal(found, *naive_read(rows, zone=zone))
        assert found.counts is not None
        assert found.counts.events == len(rows)
        assert found.counts.erasures == sum(
            row[2] == "-" and naive_read([row], zone=zone)[1].total() == 0 for row in rows
        )

    @pytest.mark.parametrize("rotation_days", [1, 7, 90, 36_500])
    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_any_rotation_keys_every_day_under_all_its_epochs(self, tmp_path: Path, rotation_days: int) -> None:
        """From daily epochs to one for a century, over 25 years of days, each day has its keys under each epoch."""
        rng = np.random.default_rng(rotation_days)
        count = 15 if rotation_days == 1 else 150
        days = [date(2000, 1, 1) + timedelta(days=int(n)) for n in rng.integers(0, 9_000, count)]
        rows: list[Row] = [(f"u{index % 7}", day, None) for index, day in enumerate(days)]
        columns = {"user_id": pa.array([row[0] for row in rows]), "day": pa.array(days, pa.date32())}
        found = engine_read(write_parquet(tmp_path / "a.parquet", columns), rotation_days=rotation_days)
        assert_equal(found, *naive_read(rows, rotation_days=rotation_days))

    @pytest.mark.parametrize(
        "kind", [pa.date32(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "America/New_York")], ids=str
    )
    @pytest.mark.parametrize(
        "ids",
        [pa.string(), pa.large_string(), pa.int64(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
        ids=str,
    )
    @pytest.mark.one_is_enough
    def test_any_type_of_column_means_the_same(self, tmp_path: Path, kind: pa.DataType, ids: pa.DataType) -> None:
        """Ids as text, bytes, dictionary or whole numbers and times of any type give the same keys and days."""
        days = [date(2025, 12, 1) + timedelta(days=index % 70) for index in range(500)]
        users = [None if index % 50 == 0 else str(index * 7919 % 97) for index in range(500)]
        noon = [datetime(day.year, day.month, day.day, 12) for day in days]
        times = pa.array(days if kind == pa.date32() else noon).cast(
            pa.timestamp("us") if kind != pa.date32() else kind
        )
        columns = {"user_id": pa.array(users).cast(ids), "ts": times.cast(kind)}
        found = engine_read(write_parquet(tmp_path / "a.parquet", columns))
        assert_equal(found, *naive_read([(user, day, None) for user, day in zip(users, days, strict=True)]))

    def test_whole_numbers_as_ids_are_their_decimal_text(self, tmp_path: Path) -> None:
        """The id 42 as a number in JSON or Parquet is the user "42"; so is one beyond 64 bits in JSON."""
        path = tmp_path / "a.jsonl"
        big = "123456789012345678901234567890"
        path.write_text(f'{{"user_id": 42, "day": "2026-01-01"}}\n{{"user_id": {big}, "day": "2026-01-01"}}\n')
        epoch = EpochCalendar.every(90).epoch_of(date(2026, 1, 1))
        expected = sorted(user_key(key_of(epoch), text.encode()) for text in ("42", big))
        assert engine_read(path).keys[date(2026, 1, 1), epoch] == expected

    def test_day_decides_over_ts_where_a_row_has_both(self, tmp_path: Path) -> None:
        """A row's `day` counts when it is there, else its `ts`."""
        path = tmp_path / "a.csv"
        path.write_text("user_id,ts,day\na,2026-01-01T23:30:00Z,2026-01-01\na,2026-01-01T23:30:00Z,\n")
        counts = engine_read(path, zone=VIENNA).counts
        assert counts is not None
        assert counts.days == (date(2026, 1, 1), date(2026, 1, 2))

    def test_names_of_columns_may_hold_anything(self, tmp_path: Path) -> None:
        """Names with quotes, slashes, tildes and capitals beside small letters are taken as they are."""
        mapping = ColumnMapping(user='us"er~/ID', time="it's $.when")
        document = {'us"er~/ID': "a", "it's $.when": "2026-01-01"}
        (tmp_path / "a.jsonl").write_text(json.dumps(document))
        columns = {name: pa.array([value]) for name, value in document.items()}
        write_parquet(tmp_path / "a.parquet", columns)
        write_parquet(tmp_path / "b.parquet", {'US"ER~/ID': pa.array(["b"]), **columns})
        results = [engine_read(tmp_path / name, mapping=mapping).keys for name in ("a.jsonl", "a.parquet", "b.parquet")]
        assert results[0] == results[1] == results[2] != {}

    def test_the_path_is_a_path_and_no_pattern(self, tmp_path: Path) -> None:
        """Folders named like patterns or like partitions do not add files or columns."""
        folder = tmp_path / "day=2020-01-01" / "*[a]'?"
        folder.mkdir(parents=True)
        columns = {"user_id": pa.array(["a"]), "ts": pa.array(["2026-01-01"])}
        write_parquet(folder.parent / "x.parquet", columns)
        counts = engine_read(write_parquet(folder / "b[0-9]*.parquet", columns)).counts
        assert counts is not None
        assert (counts.events, counts.days) == (1, (date(2026, 1, 1),))


class TestErasures:
    def test_minus_rows_give_tombstones_under_every_epoch_up_to_their_day(self, tmp_path: Path) -> None:
        """Each erased id appears under each epoch from the first asked for to that of its last day, once."""
        rows: list[Row] = [
            ("a", "2026-01-05", "-"),
            ("a", "2025-03-05", "-"),
            ("b", "2025-01-01", "-"),
            ("c", "2026-01-05", "+"),
        ]
        calendar = EpochCalendar.every(90)
        first = calendar.epoch_of(date(2024, 6, 1))
        found = engine_read(write_jsonl(tmp_path / "a.jsonl", rows), first_erased_epoch=first)
        last = {b"a": date(2026, 1, 5), b"b": date(2025, 1, 1)}
        expected = {
            epoch: {
                user_key(key_of(epoch), user): day for user, day in last.items() if calendar.first_day(epoch) <= day
            }
            for epoch in range(first, calendar.epoch_of(date(2026, 1, 5)) + 1)
        }
        assert found.erased == expected
        assert {day for day, _ in found.keys} == {date(2026, 1, 5)}


GOOD = '{"user_id": "a", "ts": "2026-01-01"}'


class TestBadRows:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"{broken", "malformed"),
            (b'"text"', "malformed"),
            (b"[1, 2]", "malformed"),
            (b"null", "malformed"),
            (b'{"user_id": "a", "ts": "2026-01-01"} trailing', "malformed"),
            (b'{"user_id": "\\ud800", "ts": "2026-01-01"}', "malformed"),
            (b'{"user_id": true, "ts": "2026-01-01"}', "malformed"),
            (b'{"user_id": 1.5, "ts": "2026-01-01"}', "malformed"),
            (b'{"user_id": ["a"], "ts": "2026-01-01"}', "malformed"),
            (b"[" * 100_000, "malformed"),
            (b"\xff\xfe" + GOOD.encode(), "not_utf8"),
            (b'{"user_id": "\xff", "ts": "2026-01-01"}', "not_utf8"),
            (b'{"user_id": null, "ts": "2026-01-01"}', "no_user"),
            (b'{"user_id": "", "ts": "2026-01-01"}', "no_user"),
            (b'{"ts": "2026-01-01"}', "no_user"),
            (b'{"user_id": "' + b"x" * 1025 + b'", "ts": "2026-01-01"}', "too_long"),
            (b'{"user_id": "' + b"x" * MAX_LINE_BYTES + b'", "ts": "2026-01-01"}', "too_long"),
            (b'{"user_id": "a"}', "bad_time"),
            (b'{"user_id": "a", "ts": null}', "bad_time"),
            (b'{"user_id": "a", "ts": true}', "bad_time"),
            (b'{"user_id": "a", "ts": {"$date": 1}}', "bad_time"),
            (b'{"user_id": "a", "ts": 1e400}', "bad_time"),
            (b'{"user_id": "a", "ts": 99999999999999999999999999}', "bad_time"),
            (b'{"user_id": "a", "ts": "99999-01-01"}', "bad_time"),
            (b'{"user_id": "a", "ts": "2026-02-30"}', "bad_time"),
            (b'{"user_id": "a", "ts": "1969-12-31"}', "bad_time"),
            (b'{"user_id": "a", "ts": "9999-01-01"}', "future"),
            (b'{"user_id": "a", "ts": "2026-06-03"}', "future"),
            (b'{"user_id": "a", "ts": "2019-12-31"}', "too_old"),
            (b'{"user_id": "a", "ts": "2026-01-01", "op": "delete"}', "unknown_op"),
            (b'{"user_id": "a", "ts": "2026-01-01", "op": 1}', "unknown_op"),
        ],
        ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else value,
    )
    def test_a_bad_line_is_counted_with_its_number_and_stops_nothing(
        self, tmp_path: Path, line: bytes, reason: str
    ) -> None:
        """Whatever a line holds, it is refused by its reason and number, and the lines around it count."""
        path = tmp_path / "a.jsonl"
        path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\n  \n" + line + b"\r\n" + GOOD.encode())
        counts = engine_read(path, oldest_day=date(2020, 1, 1)).counts
        assert counts is not None
        assert (counts.events, counts.accepted) == (3, 2)
        assert counts.rejected == {reason: 1}
        assert counts.lines == {reason: (4,)}

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"x", "malformed"),
            (b"x,a,2026-01-01,+,more", "malformed"),
            (b'x,"a,2026-01-01,+', "malformed"),
            (b"\xff,\xff", "malformed"),
            (b"x,\xffa,2026-01-01,", "not_utf8"),
            (b"\xff,a,\xff,", "bad_time"),
            (b"x,a,2026-01-01,\xff", "unknown_op"),
            (b"x,,2026-01-01,", "no_user"),
            (b'x,"",2026-01-01,', "no_user"),
            (b"x," + b"y" * 1025 + b",2026-01-01,", "too_long"),
            (b"x," + b"\xff" * 1025 + b",2026-01-01,", "too_long"),
            (b"y" * MAX_LINE_BYTES + b",a,2026-01-01,", "too_long"),
            (b"x,a,,", "bad_time"),
            (b"x,a,2026-01-01,*", "unknown_op"),
        ],
        ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else value,
    )
    def test_a_bad_record_is_counted_with_its_number_and_stops_nothing(
        self, tmp_path: Path, line: bytes, reason: str
    ) -> None:
        """The same for records of a CSV file: the header is record 1, blank lines are numbered and not counted."""
        path = tmp_path / "a.csv"
        good = b'x,a,2026-01-01,+\r\n\r\n"q ""x"" ",\x00b,2026-01-02T10:00,\r\n'
        path.write_bytes(b"\xef\xbb\xbfother,user_id,ts,op\r\n" + good + line + b"\n" + good)
        counts = engine_read(path).counts
        assert counts is not None
        assert (counts.events, counts.accepted) == (5, 4)
        assert counts.rejected == {reason: 1}
        assert counts.lines == {reason: (5,)}

    def test_a_quote_that_never_closes_costs_one_record(self, tmp_path: Path) -> None:
        """A stray quote refuses its own record; well-formed records behind it count, also in later blocks."""
        path = tmp_path / "a.csv"
        path.write_text('user_id,ts\n"broken,2026-01-01\n' + '"a","2026-01-01"\n' * 20_000)
        counts = engine_read(path).counts
        assert counts is not None
        assert (counts.accepted, counts.rejected, counts.lines) == (20_000, {"malformed": 1}, {"malformed": (2,)})

    def test_line_breaks_inside_quotes_make_no_rows(self, tmp_path: Path) -> None:
        """A quoted field with line breaks is one record, also as an id."""
        path = tmp_path / "a.csv"
        path.write_text('user_id,note,ts\n"a\nb","x\n\ny",2026-01-01\n"a\nb",z,2026-01-01\n')
        counts = engine_read(path).counts
        assert counts is not None
        assert (counts.events, counts.accepted) == (2, 2)

    @pytest.mark.parametrize(
        "line", [b"x\ry,2026-01-01", b"x,2026-01-01\ry,2026-01-01", b'x"y\rz"w,2026-01-01', b"\rx,z"]
    )
    def test_a_lone_carriage_return_makes_no_rows(self, tmp_path: Path, line: bytes) -> None:
        """A carriage return within a record and outside quotes refuses the record; nobody comes into being by it."""
        path = tmp_path / "a.csv"
        good = b"a,2026-01-01\r\n\r\r\nb,2026-01-01\r\r\n"
        path.write_bytes(b"user_id,ts\r\n" + good + line + b"\r\n" + good)
        result = engine_read(path)
        assert result.counts is not None
        assert (result.counts.events, result.counts.rejected) == (5, {"malformed": 1})
        assert result.counts.lines == {"malformed": (5,)}
        assert {len(keys) for keys in result.keys.values()} == {2}

    def test_a_carriage_return_between_quotes_belongs_to_the_id(self, tmp_path: Path) -> None:
        """What quotes hold is one field, lone carriage returns included."""
        path = tmp_path / "a.csv"
        path.write_bytes(b'user_id,ts\r\n"a\rb",2026-01-01\r\n"a\rb",2026-01-01\r\n')
        result = engine_read(path)
        expected, _ = naive_read([("a\rb", "2026-01-01", None)])
        assert result.keys == expected.keys

    def test_blank_lines_before_the_header_are_no_records(self, tmp_path: Path) -> None:
        """The header is the first line that is not blank; the numbers of lines stay those of the file."""
        path = tmp_path / "a.csv"
        path.write_bytes(b"\xef\xbb\xbf\r\n \t\n\nuser_id,ts\na,2026-01-01\n,2026-01-01\n")
        counts = engine_read(path).counts
        assert counts is not None
        assert (counts.events, counts.accepted, counts.lines) == (2, 1, {"no_user": (6,)})

    @pytest.mark.parametrize(("column", "reason"), [("user_id", "no_user"), ("ts", "bad_time"), ("op", None)])
    def test_a_parquet_column_of_nulls_is_a_matter_of_its_rows(
        self, tmp_path: Path, column: str, reason: str | None
    ) -> None:
        """A column of the type null, as writers make it when all values are missing, refuses rows and no file."""
        columns = {"user_id": pa.array(["a", "b"]), "ts": pa.array(["2026-01-01"] * 2), column: pa.nulls(2)}
        counts = engine_read(write_parquet(tmp_path / "a.parquet", columns)).counts
        assert counts is not None
        assert counts.rejected == ({reason: 2} if reason else {})
        assert counts.events == 2

    def test_one_text_in_parquet_that_is_not_utf8_is_one_row(self, tmp_path: Path) -> None:
        """Parquet writers may store any bytes as text; such rows are refused, the others count."""
        users = [b"a", b"\xff", b"\xc3\xbc", b"", None] * 500
        raw = pa.array(users, pa.binary()).view(pa.string())
        columns = {"user_id": raw, "day": pa.array([date(2026, 1, 1)] * len(users), pa.date32())}
        counts = engine_read(write_parquet(tmp_path / "a.parquet", columns)).counts
        assert counts is not None
        assert counts.rejected == {"no_user": 1000, "not_utf8": 500}
        assert counts.lines["not_utf8"][:3] == (2, 7, 12)

    def test_the_first_line_numbers_are_kept(self, tmp_path: Path) -> None:
        """Of many refused rows the first are named, in order, however the file is cut into blocks."""
        bad, good = "{broken}\n", GOOD + " " * 900 + "\n"
        path = tmp_path / "a.jsonl"
        path.write_text((good + bad) * 15_000)
        counts = engine_read(path).counts
        assert counts is not None
        assert counts.rejected == {"malformed": 15_000}
        assert counts.lines["malformed"] == tuple(range(2, 2 * LINES_KEPT + 1, 2))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jsonl", b""),
            ("a.csv", b""),
            ("a.csv", b"\n"),
            ("c.csv", b" \r\n\t\r"),
            ("b.csv", b"user_id,ts"),
            ("a.jsonl", b"\n\r\n \n"),
        ],
    )
    def test_an_empty_file_has_no_events(self, tmp_path: Path, name: str, content: bytes) -> None:
        """A file without rows is fine and gives nothing."""
        (tmp_path / name).write_bytes(content)
        result = engine_read(tmp_path / name)
        assert result.counts is not None
        assert (result.counts.events, result.counts.rejected, result.keys) == (0, {}, {})


class TestWholeFileFailures:
    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("user_id", pa.array([1.5])),
            ("user_id", pa.array([True])),
            ("user_id", pa.array([["a"]])),
            ("ts", pa.array([True])),
        ],
    )
    def test_a_column_of_another_type_is_refused_whole(self, tmp_path: Path, column: str, values: pa.Array) -> None:
        """A Parquet column whose type holds no id or no time is named with its type."""
        columns = {"user_id": pa.array(["a"]), "ts": pa.array(["2026-01-01"]), column: values}
        with pytest.raises(InputError, match=f"column {column}"):
            engine_read(write_parquet(tmp_path / "a.parquet", columns))

    def test_damage_inside_a_file_is_one_line_without_its_content(self, tmp_path: Path) -> None:
        """A Parquet file or gzip stream that breaks in the middle is refused, and the error quotes none of it."""
        users = pa.array([f"secret-{index}" for index in range(50_000)])
        path = tmp_path / "a.parquet"
        pq.write_table(
            pa.table({"user_id": users, "ts": pa.array(["2026-01-01"] * 50_000)}), path, use_dictionary=False
        )
        content = bytearray(path.read_bytes())
        content[1000:200_000] = b"\xff" * 199_000
        path.write_bytes(content)
        packed = tmp_path / "a.jsonl.gz"
        packed.write_bytes(gzip.compress((GOOD + "\n").encode() * 100_000)[:-300])
        for broken in (path, packed):
            with pytest.raises(InputError) as failure:
                engine_read(broken)
            text = f"{failure.value.message} {failure.value.hint} {failure.value.__cause__}"
            assert "secret" not in text
            assert "user_id" not in text
            assert failure.value.__suppress_context__


class TestMemory:
    @pytest.mark.slow
    def test_what_does_not_fit_is_read_in_parts_and_never_spilled(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Under a limit far below the ids' size the result is the same, in several pushes, and no file appears."""
        count = 150_000
        users = pa.array([f"user-{index:032d}" for index in range(count)])
        days = pa.array(np.full(count, 20_000, dtype=np.int32)).cast(pa.date32())
        columns = {
            "user_id": pa.concat_arrays([users, pa.array([None, ""])]),
            "day": pa.concat_arrays([days, days[:2]]),
        }
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns), path)
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        whole, parts = engine_read(path), engine_read(path, memory_limit="25MB")
        assert parts.keys == whole.keys
        assert parts.counts is not None
        assert whole.counts is not None
        assert (parts.counts.events, parts.counts.rejected, parts.counts.lines) == (
            count + 2,
            {"no_user": 2},
            {"no_user": (count + 1, count + 2)},
        )
        assert parts.pushes > whole.pushes
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_limit_that_holds_nothing_is_an_error_of_its_own(self, tmp_path: Path) -> None:
        """When even a small part does not fit, the error names the setting and quotes nothing."""
        path = write_jsonl(tmp_path / "a.jsonl", [(f"secret-{index}", "2026-01-01", None) for index in range(5000)])
        with pytest.raises(StorageError) as failure:
            engine_read(path, memory_limit="100KB")
        assert "DUCKDB_MEMORY_LIMIT" in failure.value.hint
        assert "secret" not in str(failure.value.__cause__) + failure.value.message

    def test_days_before_the_floor_are_too_old(self, tmp_path: Path) -> None:
        """Rows before the oldest day are refused, those on it count."""
        rows: list[Row] = [("a", "2024-12-31", None), ("a", "2025-01-01", None)]
        counts = engine_read(write_csv(tmp_path / "a.csv", rows), oldest_day=date(2025, 1, 1)).counts
        assert counts is not None
        assert (counts.rejected, counts.days) == ({"too_old": 1}, (date(2025, 1, 1),))
        assert counts.days[0] > EARLIEST_DAY
