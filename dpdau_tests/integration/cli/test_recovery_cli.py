"""The commands `backup` and `restore`: what they print, and how they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpdau_assets.storage.journal.lines import files_in
from dpdau_tests.support.command_line import CommandLine, write_lines

DAYS = [f"2025-01-0{number}" for number in range(1, 5)]


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    """A project with two released days, a backup, and a third day released after it."""
    command = CommandLine(tmp_path / "project", SERIES_START="2025-01-01", SKETCH_IMPL="set")
    rows = [(f"user-{number}", day) for number in range(9) for day in DAYS]
    command.json("ingest", "--from", write_lines(tmp_path / "events.jsonl", rows))
    command.json("release", "--start", DAYS[0], "--end", DAYS[1])
    made = command.json("backup", "--lake")
    assert [Path(one["path"]).name.split("-")[0] for one in made["made"]] == ["ledger", "lake"]
    command.json("dau", "--day", DAYS[2])
    return command


def lose_ledger(dpdau: CommandLine) -> None:
    """Removes the ledger's files."""
    for path in (dpdau.data / "ledgers").glob("ledger.sqlite*"):
        path.unlink()


class TestRestore:
    @pytest.mark.slow
    def test_the_way_back_is_named_and_leads_there(self, dpdau: CommandLine) -> None:
        """Without its ledger every command names `dpdau restore` in one line; afterwards the same value is answered."""
        value = dpdau.json("dau", "--day", DAYS[2])
        spent = dpdau.json("budget", "dau", "--month", "2025-01")
        lose_ledger(dpdau)
        for arguments in (("status",), ("dau", "--day", DAYS[2]), ("ingest", "--from", dpdau.folder / ".env")):
            refused = dpdau(*arguments)
            assert refused.code == 1 and len(refused.err.strip().splitlines()) == 1
            assert "dpdau restore" in refused.err
        found = dpdau.json("restore")
        assert found["gaps"] == [] and found["unaccounted"] == [] and found["lines_replayed"] > 0
        assert dpdau.json("dau", "--day", DAYS[2]) == value
        assert dpdau.json("budget", "dau", "--month", "2025-01") == spent
        assert dpdau.json("verify")["ok"]
        assert dpdau("restore").code == 1

    def test_a_gap_is_told_and_charged(self, dpdau: CommandLine) -> None:
        """Without ledger and journal, later days are refused until they are assumed released, and then revision 1."""
        lose_ledger(dpdau)
        shutil.rmtree(dpdau.data / "journal")
        told = dpdau("restore")
        assert told.code == 0 and "--assume-released" in told.out and "request them again" in told.out
        refused = dpdau("dau", "--day", DAYS[2], "--json")
        assert refused.code == 1 and "--assume-released" in refused.error["hint"]
        assert dpdau.json("dau", "--day", DAYS[1])["revision"] == 0
        done = dpdau.json("restore", "--assume-released", f"{DAYS[2]}..{DAYS[2]}", "--reason", "the report shows it")
        assert {row["account"] for row in done["charged"]} == {"dau", "wau", "mau"}
        assert dpdau.json("dau", "--day", DAYS[2])["revision"] == 1
        assert dpdau.json("budget", "dau", "--month", "2025-01")["release_count"] == 3

    @pytest.mark.slow
    def test_data_comes_back_with_lake(self, dpdau: CommandLine) -> None:
        """A deleted day of raw events is put back by `restore --lake` although the ledger is whole."""
        before = dpdau.json("trusted-counts", "--start", DAYS[0], "--end", DAYS[3])
        for asset in ("raw_events", "erasure_replay"):
            shutil.rmtree(dpdau.data / "lake" / asset / f"day={DAYS[1]}")
        found = dpdau.json("restore", "--lake")
        assert found["source"] == "the present ledger" and found["lake"].startswith("lake-")
        assert dpdau.json("trusted-counts", "--start", DAYS[0], "--end", DAYS[3]) == before

    def test_what_makes_no_sense_is_refused_in_one_line(self, dpdau: CommandLine) -> None:
        """Contradicting options, unreadable days and days that nothing is lost of change nothing."""
        before = [path.read_bytes() for path in files_in(dpdau.data / "journal")]
        for arguments in (
            ("--assume-released", "2025-01-01..2025-01-02", "--reason", "x", "--lake"),
            ("--assume-released", "yesterday", "--reason", "x"),
            ("--assume-released", "2025-01-02..2025-01-01", "--reason", "x"),
            ("--assume-released", "2025-01-01", "--reason", " "),
            ("--assume-released", "2025-01-01", "--reason", "x"),
            ("--reason", "x"),
        ):
            answer = dpdau("restore", *arguments)
            assert (answer.code, len(answer.err.strip().splitlines())) == (2, 1), arguments
            assert [path.read_bytes() for path in files_in(dpdau.data / "journal")] == before

    @pytest.mark.slow
    def test_a_copy_of_nothing_is_refused(self, dpdau: CommandLine, tmp_path: Path) -> None:
        """A file without manifest, and a copy of the lake, are no copies of a ledger."""
        lose_ledger(dpdau)
        (tmp_path / "some.sqlite").write_bytes(b"x")
        lake = next((dpdau.data / "backups").glob("lake-*"))
        for source in (tmp_path / "some.sqlite", lake):
            answer = dpdau("restore", "--from", source)
            assert answer.code == 1 and len(answer.err.strip().splitlines()) == 1
        assert dpdau("restore", "--from", next((dpdau.data / "backups").glob("ledger-*.sqlite"))).code == 0
