"""Opening files: formats, columns, and failures of a file as a whole."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pytest

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.engines.sources.source import Columns, open_source
from dpdau_assets.errors import InputError
from dpdau_tests.support.engine_reads import write_parquet

ANY = ColumnMapping()


def refusal(path: Path, mapping: ColumnMapping = ANY, *, source_format: str | None = None) -> str:
    """The one line that refuses a file, with its hint."""
    with pytest.raises(InputError) as failure:
        open_source(path, mapping, source_format=source_format)
    assert "\n" not in failure.value.message + failure.value.hint
    return f"{failure.value.message}; {failure.value.hint}"


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "content", "expected"),
        [
            ("a.jsonl", b"{}", "jsonl"),
            ("a.NDJSON", b"", "jsonl"),
            ("a.csv", b"user_id,ts\n", "csv"),
            ("a.jsonl.gz", gzip.compress(b"{}", mtime=0), "jsonl"),
            ("A.CSV.GZ", gzip.compress(b"user_id,ts\n", mtime=0), "csv"),
            ("events.GZ", gzip.compress(b"{}", mtime=0), "jsonl"),
            ("events", b' \xef\xbb\xbf{"user_id":1}', None),
            ("events", b'\xef\xbb\xbf {"user_id":1}', "jsonl"),
        ],
    )
    def test_the_name_decides_and_then_the_first_bytes(
        self, tmp_path: Path, name: str, content: bytes, expected: str | None
    ) -> None:
        """A known ending names the format; without one the first bytes do, or the file is refused."""
        path = tmp_path / name
        path.write_bytes(content)
        if expected is None:
            assert "--format" in refusal(path)
        else:
            assert open_source(path, ANY).format == expected

    def test_a_parquet_file_is_known_by_its_bytes(self, tmp_path: Path) -> None:
        """A Parquet file under any name is recognised."""
        write_parquet(tmp_path / "a.parquet", {"user_id": pa.array(["a"]), "ts": pa.array(["2026-01-01"])})
        assert open_source((tmp_path / "a.parquet").rename(tmp_path / "a.dat"), ANY).format == "parquet"


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "mapping", "expected"),
        [
            ("user_id,ts", ANY, Columns("user_id", ("ts",), None)),
            ("op,ts,user_id,day", ANY, Columns("user_id", ("day", "ts"), "op")),
            ("who;when", ColumnMapping(user="who", time="when"), Columns("who", ("when",), None)),
            ("who\twhen\tday", ColumnMapping(user="who"), Columns("who", ("day",), None)),
            ('"user_id","a,b"', ColumnMapping(time="a,b"), Columns("user_id", ("a,b",), None)),
        ],
    )
    def test_usual_names_are_found_and_others_can_be_given(
        self, tmp_path: Path, header: str, mapping: ColumnMapping, expected: Columns
    ) -> None:
        """user_id, day, ts and op are found; `day` stands before `ts`; a mapping replaces them one by one."""
        path = tmp_path / "a.csv"
        path.write_text(f"\ufeff{header}\r\n")
        assert open_source(path, mapping).columns == expected


class TestRefusals:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        """A file that does not exist is named."""
        assert "absent.csv" in refusal(tmp_path / "absent.csv")

    def test_a_directory(self, tmp_path: Path) -> None:
        """A directory is not read: its files are to be named."""
        assert "is a directory" in refusal(tmp_path)

    def test_a_pipe(self, tmp_path: Path) -> None:
        """What cannot be read twice is refused before it is opened, so nothing hangs."""
        os.mkfifo(tmp_path / "pipe.csv")
        assert "not a regular file" in refusal(tmp_path / "pipe.csv")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
    def test_an_unreadable_file(self, tmp_path: Path) -> None:
        """A file without read permission is refused."""
        path = tmp_path / "a.csv"
        path.write_text("user_id,ts\n")
        path.chmod(0)
        assert "permission" in refusal(path)

    def test_a_csv_without_a_header_shows_none_of_its_text(self, tmp_path: Path) -> None:
        """The refusal of a text file tells how many columns there are and how to name one, and quotes no cell."""
        path = tmp_path / "a.csv"
        path.write_text("secret-id,2026-01-01\n")
        for mapping, missing in ((ANY, "user_id"), (ColumnMapping(user="who"), "who")):
            line = refusal(path, mapping)
            assert "2 columns" in line
            assert missing in line
            assert "--user-column" in line
            assert "secret-id" not in line
            assert "2026" not in line

    def test_a_parquet_file_without_the_column_names_those_it_has(self, tmp_path: Path) -> None:
        """The names in a Parquet schema are no values: the refusal shows them."""
        path = write_parquet(tmp_path / "a.parquet", {"customer": pa.array(["secret"]), "ts": pa.array(["x"])})
        assert "customer, ts" in refusal(path)
        assert "secret" not in refusal(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"user_id,day\ra,2026-01-01\rb,2026-01-01\r",
            b"\ruser_id,day\ra,2026-01-01",
            b"user_id,day\ra,2026-01-01\n",
        ],
    )
    def test_line_ends_without_line_feeds(self, tmp_path: Path, content: bytes) -> None:
        """A file whose lines end in carriage returns only is refused with how to convert it, not taken as empty."""
        (tmp_path / "a.csv").write_bytes(content)
        line = refusal(tmp_path / "a.csv")
        assert "carriage returns" in line
        assert "tr '\\r' '\\n'" in line

    @pytest.mark.parametrize(
        "content", [b'"user_id,day\na,2026-01-01\n', b"user_id," + b"x" * (1 << 20), b"\n\n\xff\n"]
    )
    def test_a_header_that_cannot_be_read(self, tmp_path: Path, content: bytes) -> None:
        """A first line that is no list of names is refused, not taken for an empty file."""
        (tmp_path / "a.csv").write_bytes(content)
        assert "header" in refusal(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("header", "mapping"),
        [
            ("user_id,when", ANY),
            ("user_id,ts", ColumnMapping(time="when")),
            ("user_id,ts", ColumnMapping(op="operation")),
            ("user_id,ts,user_id", ANY),
        ],
    )
    def test_a_column_that_is_absent_or_twice_there(self, tmp_path: Path, header: str, mapping: ColumnMapping) -> None:
        """Every column that is needed must be in the header once."""
        path = tmp_path / "a.csv"
        path.write_text(f"{header}\n")
        assert "column" in refusal(path, mapping)

    def test_a_truncated_parquet_file(self, tmp_path: Path) -> None:
        """A Parquet file cut anywhere is refused when it is opened."""
        whole = write_parquet(
            tmp_path / "a.parquet", {"user_id": pa.array(["secret-id"] * 5000), "ts": pa.array(["2026-01-01"] * 5000)}
        ).read_bytes()
        for size in (0, 3, 4, len(whole) // 2, len(whole) - 1):
            (tmp_path / "cut.parquet").write_bytes(whole[:size])
            assert "secret" not in refusal(tmp_path / "cut.parquet")

    def test_an_unknown_format(self, tmp_path: Path) -> None:
        """A format that is none of ours is refused with the list of ours."""
        (tmp_path / "a.csv").write_text("user_id,ts\n")
        assert "jsonl, csv, parquet" in refusal(tmp_path / "a.csv", source_format="xml")

    def test_broken_compression(self, tmp_path: Path) -> None:
        """A file that is named gzip and is none is refused when its format has to be looked at."""
        for name in ("a.csv.gz", "a.csv.GZ"):
            (tmp_path / name).write_bytes(b"user_id,ts\n")
            assert "compressed" in refusal(tmp_path / name)
