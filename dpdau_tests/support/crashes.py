"""Processes that die by SIGKILL at a chosen step of an operation, between two changes of the disk.

A step is a call that makes, moves or removes a name, or the commit of a ledger transaction. The process dies just
before the chosen step, so dying before step n+1 is dying right after step n.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings

STEPS = ("link", "replace", "unlink", "rmdir", "fsync")
Operation = Callable[[Workspace], Any]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        __name__,
        "dpdau_assets.operations.recover.rebuild",
        "dpdau_assets.operations.pipeline.trusted_counts",
        "dpdau_assets.operations.erase.request",
        "dpdau_assets.operations.ingest.stage",
    ]
)


def dies_at(step: int, operation: Operation, workspace: Workspace) -> bool:
    """Runs `operation` in a process that is killed before its `step`-th step; False when it ended before.

    Args:
        step: From 1.
        operation: A function of a module.
        workspace: The data folder, which the process opens for itself.
    """
    workspace.close()
    process = _context.Process(
        target=_run, args=(step, operation, workspace.settings.model_dump(), workspace.clock(), workspace.lake.root)
    )
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), f"the process ended with {process.exitcode}"
    return process.exitcode == -signal.SIGKILL


def sampled(steps: int, *, count: int) -> Iterator[int]:
    """At most `count` steps of 1 .. `steps`, evenly spread, first and last among them."""
    if steps <= count:
        yield from range(1, steps + 1)
    else:
        yield from sorted({1 + round(index * (steps - 1) / (count - 1)) for index in range(count)})


def count_steps(operation: Operation, workspace: Workspace) -> int:
    """How many steps the operation takes, which is run in this process."""
    with _Counter(limit=None) as counter:
        operation(workspace)
    return counter.steps


class _Counter:
    """Counts steps while it is entered; at `limit` the process dies."""

    def __init__(self, *, limit: int | None) -> None:
        self.steps = 0
        self._limit = limit
        self._lock = threading.Lock()
        self._originals: dict[str, Any] = {}

    def __enter__(self) -> _Counter:
        for name in STEPS:
            self._originals[name] = getattr(os, name)
            setattr(os, name, self._counting(self._originals[name]))
        event.listen(Engine, "commit", self._step)
        return self

    def __exit__(self, *_: object) -> None:
        for name, original in self._originals.items():
            setattr(os, name, original)
        event.remove(Engine, "commit", self._step)

    def _step(self, *_: object) -> None:
        with self._lock:
            self.steps += 1
            is_last = self.steps == self._limit
        if is_last:
            self._end()

    def _end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self._step()
            return original(*arguments, **named)

        return counted


class Interrupted(BaseException):
    """Raised in place of a step; nobody may catch it."""


class Interruption(_Counter):
    """While entered, the `step`-th step of this process raises `Interrupted` in place of being taken."""

    def __init__(self, step: int) -> None:
        super().__init__(limit=step)

    def _end(self) -> None:
        raise Interrupted


def _run(step: int, operation: Operation, settings: dict[str, Any], now: datetime, root: Path) -> None:
    workspace = open_workspace(Settings(**{**settings, "data_dir": root}), clock=lambda: now)
    with _Counter(limit=step):
        operation(workspace)
