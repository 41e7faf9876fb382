"""One holder at a time, across threads and processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dpdau_assets.errors import InternalError, StorageError
from dpdau_assets.storage.disk import lock
from dpdau_assets.storage.disk.lock import FileLock, waits_told_to

HOLD = """
import sys
from pathlib import Path
from dpdau_assets.storage.disk.lock import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


class TestFileLock:
    def test_a_second_process_is_refused_until_the_first_is_killed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lock excludes another process, names it after a moment, and is free once that process is killed."""
        monkeypatch.setattr(lock, "QUIET_SECONDS", 0.05)
        path = tmp_path / "deep" / ".lock"
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            heard: list[str] = []
            overheard: list[str] = []
            with (
                waits_told_to(overheard.append),
                pytest.raises(StorageError, match=f"still held by process {holder.pid} after 0.1 s"),
                FileLock(path, timeout_seconds=0.1, on_wait=heard.append),
            ):
                pytest.fail("the lock was given twice")
            assert len(heard) == 1 and str(holder.pid) in heard[0]
            assert overheard == heard
            with pytest.raises(StorageError, match=r"after 0\.01 s"), FileLock(path, timeout_seconds=0.01):
                pytest.fail("the lock was given twice")
            assert len(overheard) == 1
        finally:
            holder.kill()
            holder.communicate()
        with FileLock(path, timeout_seconds=5):
            pass

    def test_threads_exclude_each_other(self, tmp_path: Path) -> None:
        """Increments under the lock are never lost between threads."""
        counter = tmp_path / "counter"
        counter.write_text("0")

        def work() -> None:
            for _ in range(25):
                with FileLock(tmp_path / ".lock"):
                    counter.write_text(str(int(counter.read_text()) + 1))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counter.read_text() == "100"

    def test_taking_it_twice_in_one_thread_is_a_mistake(self, tmp_path: Path) -> None:
        """A thread that would wait for itself gets an error, and may take the lock again afterwards."""
        with FileLock(tmp_path / ".lock"), pytest.raises(InternalError, match="twice"), FileLock(tmp_path / ".lock"):
            pytest.fail("the lock was given twice")
        with FileLock(tmp_path / ".lock", timeout_seconds=1):
            pass

    def test_it_is_free_after_an_error_in_the_block(self, tmp_path: Path) -> None:
        """An exception frees the lock."""
        with pytest.raises(ZeroDivisionError), FileLock(tmp_path / ".lock"):
            raise ZeroDivisionError
        with FileLock(tmp_path / ".lock", timeout_seconds=1):
            pass
