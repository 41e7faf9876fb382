"""One endless line: it is counted and skipped, in memory that does not grow with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.untraced

PROGRAM = """
import json, re, sys
from pathlib import Path
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.settings.settings import Settings

workspace = open_workspace(Settings(data_dir=Path(sys.argv[1])))
report = stage_files(workspace, [Path(sys.argv[2])]).to_json()
# Not getrusage: its peak begins with that of the process which started this one.
report["peak_kilobytes"] = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps(report))
"""
GOOD = b'{"user_id": "a", "ts": "2026-01-01"}\n'
CSV_GOOD = b'"a",2026-01-01\n'


def stage_in_a_process(folder: Path, path: Path) -> dict[str, object]:
    """The report of staging one file in a process of its own, with that process's peak memory."""
    command = [sys.executable, "-c", PROGRAM, str(folder), str(path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    document: dict[str, object] = json.loads(finished.stdout)
    return document


def write_endless(path: Path, *, start: bytes, good: bytes, size_bytes: int) -> Path:
    """A file with one line of `size_bytes` bytes between good ones; the line is a hole in the file, so NUL bytes."""
    with path.open("wb") as stream:
        stream.write(start + good + b'{"user_id": "')
        stream.seek(size_bytes, 1)
        stream.write(b'", "ts": "2026-01-01"}\n' + good)
    return path


class TestOneEndlessLine:
    @pytest.mark.parametrize(("name", "start", "good"), [("a.jsonl", b"", GOOD), ("a.csv", b"user_id,ts\n", CSV_GOOD)])
    @pytest.mark.one_is_enough
    def test_300_megabytes_need_less_than_a_third_of_that(
        self, tmp_path: Path, name: str, start: bytes, good: bytes
    ) -> None:
        """A line of 300 MB is one row too long; it takes less than 100 MB more memory than one of 2 MB."""
        peaks = []
        for size_bytes in (2 << 20, 300 << 20):
            path = write_endless(tmp_path / f"{size_bytes}{name}", start=start, good=good, size_bytes=size_bytes)
            report = stage_in_a_process(tmp_path / "data", path)
            assert (report["events"], report["accepted"], report["rejected"]) == (3, 2, {"too_long": 1})
            peaks.append(int(str(report["peak_kilobytes"])))
        assert peaks[1] - peaks[0] < 100 << 10

    @pytest.mark.slow
    @pytest.mark.parametrize(("name", "start", "good"), [("a.jsonl", b"", GOOD), ("a.csv", b"user_id,ts\n", CSV_GOOD)])
    def test_two_gigabytes_stay_below_one(self, tmp_path: Path, name: str, start: bytes, good: bytes) -> None:
        """A line of 2 GB is one row too long; the process stays below 1 GiB."""
        path = write_endless(tmp_path / name, start=start, good=good, size_bytes=2 << 30)
        report = stage_in_a_process(tmp_path / "data", path)
        assert (report["events"], report["accepted"], report["rejected"]) == (3, 2, {"too_long": 1})
        assert report["peak_kilobytes"] < 1 << 20  # type: ignore[operator]
