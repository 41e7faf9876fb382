"""What people get wrong, at the command line: one clear line, the right exit code, nothing half done."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_tests.support.command_line import CommandLine, write_lines


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    """An empty project."""
    return CommandLine(tmp_path, SERIES_START="2024-01-01")


def refused(dpdau: CommandLine, *arguments: str | Path, code: int = 3) -> str:
    """The one line of a refusal, which must also be a JSON document when asked."""
    as_json = dpdau(*arguments, "--json")
    assert (as_json.code, as_json.out) == (code, "")
    assert set(as_json.error) == {"error", "message", "hint"}
    answer = dpdau(*arguments)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("dpdau: ")
    assert "Traceback" not in answer.err
    return answer.err


class TestFiles:
    def test_a_missing_file(self, dpdau: CommandLine) -> None:
        """A file that does not exist is named."""
        assert "nowhere.jsonl" in refused(dpdau, "ingest", "--from", "nowhere.jsonl")

    def test_a_directory(self, dpdau: CommandLine) -> None:
        """A directory is refused, saying what it is."""
        assert "directory" in refused(dpdau, "ingest", "--from", dpdau.folder)

    def test_an_unreadable_file(self, dpdau: CommandLine) -> None:
        """A file without read permission is one line (or root, whom nothing stops)."""
        path = write_lines(dpdau.folder / "a.jsonl", [("a", "2024-01-01")])
        path.chmod(0)
        if os.access(path, os.R_OK):
            path.unlink()
            path.symlink_to(path)
        assert "a.jsonl" in refused(dpdau, "ingest", "--from", path)

    def test_a_truncated_parquet(self, dpdau: CommandLine) -> None:
        """A Parquet file cut in the middle is one line, and nothing of it is staged."""
        path = dpdau.folder / "a.parquet"
        pq.write_table(
            pa.table({"user_id": [f"secret-{n}" for n in range(9_999)], "day": ["2024-01-01"] * 9_999}), path
        )
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "secret-" not in refused(dpdau, "ingest", "--from", path)
        assert dpdau.json("trusted-counts", "--start", "2024-01-01", "--end", "2024-01-01")[0]["dau"] == 0

    def test_a_parquet_that_is_none(self, dpdau: CommandLine) -> None:
        """Text called .parquet is one line."""
        path = dpdau.folder / "a.parquet"
        path.write_text("user_id,day\nsecret-1,2024-01-01\n", encoding="utf-8")
        assert "secret-" not in refused(dpdau, "ingest", "--from", path)

    def test_a_csv_without_the_column(self, dpdau: CommandLine) -> None:
        """A CSV file without the named column is one line that names it."""
        path = dpdau.folder / "a.csv"
        path.write_text("who,day\nsecret-1,2024-01-01\n", encoding="utf-8")
        line = refused(dpdau, "ingest", "--from", path, "--user-column", "customer")
        assert "customer" in line
        assert "secret-" not in line

    def test_an_empty_file_is_no_error(self, dpdau: CommandLine) -> None:
        """An empty file holds no events and harms nothing."""
        path = dpdau.folder / "a.jsonl"
        path.touch()
        assert dpdau.json("ingest", "--from", path)["events"] == 0

    def test_strict_refuses_the_file_of_a_bad_row(self, dpdau: CommandLine) -> None:
        """--strict refuses a whole file for one bad row; without it the row alone is left out."""
        path = write_lines(dpdau.folder / "a.jsonl", [("a", "2024-01-01"), ("secret-1", "2024-01-99")])
        assert "secret-" not in refused(dpdau, "ingest", "--strict", "--from", path)
        assert dpdau.json("ingest", "--from", path)["accepted"] == 1

    def test_a_day_far_in_the_future_is_rejected_by_reason(self, dpdau: CommandLine) -> None:
        """A day beyond tomorrow is counted as `future` and makes no partition."""
        path = write_lines(dpdau.folder / "a.jsonl", [("a", "2999-01-01")])
        report = dpdau.json("ingest", "--from", path)
        assert (report["accepted"], report["rejected"]["future"]) == (0, 1)


class TestErasureInput:
    def test_a_missing_list(self, dpdau: CommandLine) -> None:
        """A list of ids that does not exist is named."""
        assert "ids.txt" in refused(dpdau, "erase", "--from", "ids.txt")

    def test_a_line_that_is_no_id(self, dpdau: CommandLine) -> None:
        """A line longer than an id can be is refused by its number, without showing it."""
        path = dpdau.folder / "ids"
        path.write_bytes(b"a\n" + b"secret" * 1_000 + b"\n")
        line = refused(dpdau, "erase", "--from", path)
        assert "line 2" in line
        assert "secret" not in line


class TestRanges:
    @pytest.mark.timeout(60)
    def test_a_slip_in_a_date_is_refused_at_once(self, dpdau: CommandLine) -> None:
        """Millennia asked for by mistake end with 5 in one line, before anything is listed day by day."""
        dpdau.json("init")
        slip = ("--start", "2024-01-01", "--end", "9000-12-31")
        for command in (("release",), ("release", "--revise", "--reason", "a slip"), ("rebuild",), ("trusted-counts",)):
            began = time.process_time()
            assert "9000-12-31" in refused(dpdau, *command, *slip, code=5)
            assert time.process_time() - began < 2

    def test_days_stored_before_and_after_a_gap_cost_one_look(self, dpdau: CommandLine) -> None:
        """A range whose first and last day are released is judged by the days between that are not."""
        dpdau.json("init")
        for day in ("2024-01-01", "2024-01-03"):
            dpdau.json("dau", "--day", day)
        (dpdau.folder / ".env").write_text("SERIES_START=2024-01-02\n", encoding="utf-8")
        released = dpdau.json("release", "--start", "2024-01-01", "--end", "2024-01-03", "--metric", "dau")
        assert [body["day"] for body in released] == ["2024-01-01", "2024-01-02", "2024-01-03"]


class TestSettings:
    def test_an_unknown_name_in_dotenv(self, dpdau: CommandLine) -> None:
        """A typing mistake in .env is refused with the setting that was meant."""
        (dpdau.folder / ".env").write_text("SERIES_STRAT=2024-01-01\n", encoding="utf-8")
        assert "SERIES_START" in refused(dpdau, "status")

    def test_a_data_folder_that_cannot_be_made(self, dpdau: CommandLine) -> None:
        """A DATA_DIR below a file is one line about the folder."""
        (dpdau.folder / "file").touch()
        (dpdau.folder / ".env").write_text("DATA_DIR=file/data\n", encoding="utf-8")
        assert refused(dpdau, "init", code=1)

    def test_a_query_makes_no_folder(self, dpdau: CommandLine) -> None:
        """Asking where nothing was ever ingested creates nothing and says what to do."""
        assert "init" in refused(dpdau, "status", code=1)
        assert not dpdau.data.exists()

    def test_seeded_noise_over_real_data(self, dpdau: CommandLine) -> None:
        """NOISE_SOURCE=seeded is refused in a folder that was not made as synthetic."""
        dpdau.json("init")
        (dpdau.folder / ".env").write_text("NOISE_SOURCE=seeded\nSERIES_START=2024-01-01\n", encoding="utf-8")
        assert "synthetic" in refused(dpdau, "dau", "--day", "2024-01-01", code=1)

    def test_a_changed_time_zone_is_refused(self, dpdau: CommandLine) -> None:
        """A TIMEZONE other than at the first ingest is refused: days were cut in it."""
        dpdau.json("ingest", "--from", write_lines(dpdau.folder / "a.jsonl", [("a", "2024-01-01")]))
        (dpdau.folder / ".env").write_text("TIMEZONE=Europe/Berlin\nSERIES_START=2024-01-01\n", encoding="utf-8")
        assert "TIMEZONE" in refused(dpdau, "status", code=1)
