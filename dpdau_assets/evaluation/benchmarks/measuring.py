"""Runs one command and tells its wall time and the peak memory of its whole process tree (Linux: /proc)."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpdau_assets.errors import InternalError

SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command took.

    Attributes:
        seconds: Wall time from start to end of the process.
        peak_bytes: Largest sum of the resident memory of the process and its descendants, sampled every 20 ms, and
            at least the largest resident memory the kernel saw in the process itself.
        output: What it printed on standard output.
    """

    seconds: float
    peak_bytes: int
    output: str


def measure(command: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> Measured:
    """Run `command` in `folder` to its end.

    Raises:
        InternalError: It did not end with 0; the message carries its last line on standard error.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started_at = time.perf_counter()
        process = subprocess.Popen(command, env=dict(environment), cwd=folder, stdout=output, stderr=errors)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid), _high_water_bytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.perf_counter() - started_at
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            last_line = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise InternalError(f"{' '.join(command[:5])} ... ended with {process.returncode}: {last_line}")
        return Measured(seconds, peak, output.read())


def _tree_bytes(pid: int) -> int:
    """Resident bytes of a process and its descendants now; 0 when it is gone."""
    return _status_bytes(pid, "VmRSS:") + sum(_tree_bytes(child) for child in _children(pid))


def _high_water_bytes(pid: int) -> int:
    """Most bytes the process itself has held so far."""
    return _status_bytes(pid, "VmHWM:")


def _status_bytes(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:
        return []
