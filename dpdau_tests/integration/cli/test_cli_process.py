"""The command line as a real process: streams, exit codes, signals, start-up time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpdau_tests.support.command_line import CommandLine, write_lines

pytestmark = pytest.mark.untraced


class TestStreams:
    @pytest.mark.slow
    def test_standard_output_is_one_document(self, tmp_path: Path) -> None:
        """A real process prints the JSON document alone on standard output and ends with 0."""
        dpdau = CommandLine(tmp_path, SERIES_START="2024-01-01", SKETCH_K="1024")
        path = write_lines(tmp_path / "a.jsonl", [("a", "2024-01-01"), ("b", "2024-01-01")])
        ingested = dpdau.process("ingest", "--from", path, "--json")
        assert (ingested.code, ingested.document["accepted"]) == (0, 2)
        assert "SKETCH_K" in ingested.err

    def test_an_error_keeps_standard_output_empty(self, tmp_path: Path) -> None:
        """A real process that fails prints one JSON line on standard error and its exit code."""
        answer = CommandLine(tmp_path).process("dau", "--day", "2024-01-01", "--json")
        assert (answer.code, answer.out) == (1, "")
        assert set(json.loads(answer.err)) == {"error", "message", "hint"}

    def test_a_closed_pipe_is_no_traceback(self, tmp_path: Path) -> None:
        """A reader that goes away, as `head` does, leaves no noise."""
        dpdau = CommandLine(tmp_path)
        process = dpdau.start("settings", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(60) in (0, 1)


class TestInterrupt:
    def test_an_interrupt_is_one_line_and_the_signal(self, tmp_path: Path) -> None:
        """Ctrl-C while ids are awaited ends the process by the signal with one line."""
        process = CommandLine(tmp_path).start(
            "erase", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        ledger = tmp_path / "data" / "ledgers" / "ledger.sqlite"
        deadline = time.monotonic() + 60
        while not ledger.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGINT
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("dpdau: interrupted")


class TestStart:
    def test_help_loads_nothing_heavy(self) -> None:
        """Loading the command line leaves dagster, duckdb, pyarrow, numpy, sqlalchemy and opendp out."""
        program = (
            "import sys, dpdau_assets.cli.main\n"
            "print(sorted({'dagster','duckdb','pyarrow','numpy','sqlalchemy','opendp','pandas'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.stdout.strip() == "[]", done.stderr

    @pytest.mark.slow
    def test_a_release_does_not_load_dagster(self, tmp_path: Path) -> None:
        """The commands of every day run without Dagster's seconds."""
        dpdau = CommandLine(tmp_path, SERIES_START="2024-01-01")
        write_lines(tmp_path / "a.jsonl", [("a", "2024-01-01")])
        program = (
            "import sys\nfrom dpdau_assets.cli.main import run\n"
            "codes = [run(line.split()) for line in ('ingest --from a.jsonl', 'release --start 2024-01-01 --end "
            "2024-01-01', 'status', 'erase a --wait', 'report')]\n"
            "print(codes, 'dagster' in sys.modules, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=dpdau.folder)
        assert done.stderr.strip().splitlines()[-1] == "[0, 0, 0, 0, 0] False"
