"""Made streams go through the whole way: written, noted, ingested."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_tests.support.command_line import CommandLine


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "project")


class TestStreams:
    def test_simulated_activity_can_be_ingested(self, dpdau: CommandLine) -> None:
        """simulate with the handoff's options writes what ingest accepts whole, and notes it in the streams folder."""
        path = dpdau.data / "streams" / "smoke.jsonl"
        options = ("--users", "300", "--days", "45", "--p-active", "0.18", "--delete-rate", "0.02")
        made = dpdau.json("simulate", *options, "--out", path)
        report = dpdau.json("ingest", "--from", path)
        assert (report["accepted"], report["rejected"]) == (made["events"], {})
        readme = (dpdau.data / "streams" / "README.md").read_text()
        assert "`smoke.jsonl`: simulated, 45 days" in readme and "seed 20251009" in readme

    def test_adversarial_activity_arrives_in_two_files(self, dpdau: CommandLine) -> None:
        """adversarial writes a prompt and a late file, each ingested whole and noted once however often it is made."""
        path = dpdau.data / "streams" / "adversarial.jsonl"
        options = ("adversarial", "--users", "50", "--window", "30", "--flips", "2", "--out", path)
        made = dpdau.json(*options)
        assert dpdau.json(*options) == made
        for written, events in zip(made["paths"], made["events"], strict=True):
            report = dpdau.json("ingest", "--from", written)
            assert (report["accepted"], report["rejected"]) == (events, {})
        notes = (dpdau.data / "streams" / "README.md").read_text().splitlines()
        assert [line.split("`")[1] for line in notes if line.startswith("- `")] == [Path(p).name for p in made["paths"]]

    def test_settings_give_window_and_flips(self, tmp_path: Path) -> None:
        """Without options the window is MAU_WINDOW_DAYS and the flips are W_BOUND."""
        dpdau = CommandLine(tmp_path / "other", MAU_WINDOW_DAYS="20", W_BOUND="6")
        made = dpdau.json("adversarial", "--users", "5", "--out", dpdau.data / "streams" / "a.jsonl")
        assert made["days"] == 60
        assert "window 20, flips 6" in (dpdau.data / "streams" / "README.md").read_text()

    def test_more_flips_than_days_are_refused(self, dpdau: CommandLine) -> None:
        """A user cannot flip more often than once a day: usage error, nothing written."""
        out = dpdau.folder / "a.jsonl"
        answer = dpdau("adversarial", "--users", "5", "--window", "8", "--flips", "9", "--out", out)
        assert answer.code == 2
        assert not out.exists()
