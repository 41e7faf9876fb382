"""Locks between processes, each held by an open file, so that the kernel frees it when the holder dies.

Belongs here: one exclusive lock per file, and telling a listener of long waits. Does not belong here: what a lock
protects (`lake`, `ledger`, `salt_store`). Every acquisition opens its own descriptor, so threads exclude each other as
processes do.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from dpdau_assets.errors import InternalError, StorageError
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors

POLL_SECONDS = 0.02
QUIET_SECONDS = 2.0
"""Waits shorter than this are not reported."""
Listener = Callable[[str], None]
_held = threading.local()
_listeners: list[Listener] = []


@contextmanager
def waits_told_to(listener: Listener) -> Iterator[None]:
    """Within the block, passes one line to `listener` for each wait of this process that lasts more than a moment."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class FileLock:
    """An exclusive lock on one file, taken by `with`; not re-entrant.

    Args:
        path: The lock file; it is created when absent and never removed.
        timeout_seconds: Longest wait; None waits until the lock is free.
        on_wait: Called once with one line when another process holds the lock for longer than a moment.

    Raises:
        StorageError: The lock file cannot be opened, or the wait took longer than `timeout_seconds`.
        InternalError: This thread holds the lock already and would wait for itself.
    """

    def __init__(self, path: Path, *, timeout_seconds: float | None = None, on_wait: Listener | None = None) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._on_wait = on_wait
        self._descriptor: int | None = None

    def __enter__(self) -> FileLock:
        held = _held_by_this_thread()
        if self._path in held:
            raise InternalError(f"{self._path} is locked twice by one thread")
        make_folder(self._path.parent)
        with storage_errors(self._path, "lock"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._acquire(descriptor)
            with suppress(OSError):  # the holder's process number only serves the message to waiting processes
                os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        held.add(self._path)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _held_by_this_thread().discard(self._path)

    def _acquire(self, descriptor: int) -> None:
        limit = math.inf if self._timeout_seconds is None else self._timeout_seconds
        with storage_errors(self._path, "lock"):
            if _is_taken_within(descriptor, min(QUIET_SECONDS, limit)):
                return
            if limit > QUIET_SECONDS:
                for listener in [*([self._on_wait] if self._on_wait else []), *_listeners]:
                    listener(f"waiting for process {_holder(descriptor)}, which holds {self._path}")
                if _is_taken_within(descriptor, limit - QUIET_SECONDS):
                    return
        raise StorageError(
            f"{self._path} is still held by process {_holder(descriptor)} after {limit:g} s",
            hint="wait for that process to end, or stop it: its work is repeated safely",
        )


def _is_taken_within(descriptor: int, seconds: float) -> bool:
    """Returns whether the lock became free in that time, and is now held by `descriptor`."""
    if try_lock(descriptor):
        return True
    if math.isinf(seconds):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        if try_lock(descriptor):
            return True
    return False


def try_lock(descriptor: int) -> bool:
    """Returns whether the exclusive lock of an open file was free and is now held by `descriptor`."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held_by_this_thread() -> set[Path]:
    if not hasattr(_held, "paths"):
        _held.paths = set()
    paths: set[Path] = _held.paths
    return paths


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 10, 0).decode("ascii", "replace").strip()
    return text or "unknown"
