"""A launcher that runs a real command and kills its own process by SIGKILL at the n-th hit of a named point.

    python -m dpdau_tests.support.killed RECORD POINT NTH -- dpdau ingest --from a.jsonl
    python -m dpdau_tests.support.killed RECORD - 0 -- dagster job execute ...

The points are functions of the product that are wrapped here, in this process alone; the product knows nothing of it.
Every passing of a point is counted, and RECORD (a file, one JSON document) tells how often each was passed and, after
a kill, where the process died. A name that the product no longer has ends the launcher with an AttributeError.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

NOWHERE = "-"


@dataclass(frozen=True, slots=True)
class Place:
    """One function at which a process can die.

    Attributes:
        module: Where the function is defined.
        name: The function, or `Class.method`.
        when: `before` it is called, or `after` it returned.
    """

    module: str
    name: str
    when: str = "before"


CALLS: dict[str, tuple[Place, ...]] = {
    "stage": (
        Place("dpdau_assets.operations.ingest.record_batch", "record_batch"),
        Place("dpdau_assets.operations.ingest.record_batch", "record_rows", "after"),
        Place("dpdau_assets.operations.ingest.inbox", "put_away"),
    ),
    "fold": (
        Place("dpdau_assets.operations.pipeline.raw_events", "fold_day"),
        Place("dpdau_assets.operations.pipeline.raw_events", "fold_in_session", "after"),
    ),
    "replay": (
        Place("dpdau_assets.operations.erase.live_users", "clean_staged_in_session"),
        Place("dpdau_assets.operations.erase.live_users", "without_erased"),
        Place("dpdau_assets.operations.erase.live_users", "refer_to_raw_events"),
        Place("dpdau_assets.operations.erase.live_users", "replay_in_session", "after"),
    ),
    "build": (
        Place("dpdau_assets.operations.pipeline.daily_sketches", "build_sketches_in_session"),
        Place("dpdau_assets.operations.pipeline.mau_unions", "build_unions_in_session"),
        Place("dpdau_assets.operations.pipeline.mau_unions", "build_unions_in_session", "after"),
    ),
    "mark": (
        Place("dpdau_assets.storage.ledger.partitions", "save"),
        Place("dpdau_assets.storage.ledger.partitions", "save", "after"),
        Place("dpdau_assets.storage.ledger.partitions", "mark_applied"),
        Place("dpdau_assets.storage.ledger.erasures", "complete"),
        Place("dpdau_assets.storage.ledger.erasures", "complete", "after"),
    ),
    "recover": (
        Place("dpdau_assets.operations.session.publication", "recover_partition"),
        Place("dpdau_assets.operations.session.publication", "recover", "after"),
    ),
    "charge": (
        Place("dpdau_assets.storage.ledger.accounts", "insert_charge"),
        Place("dpdau_assets.storage.ledger.accounts", "insert_charge", "after"),
    ),
    "draw": (
        Place("dpdau_assets.storage.ledger.releases", "insert_release"),
        Place("dpdau_assets.storage.ledger.releases", "insert_release", "after"),
    ),
    "rotate": (
        Place("dpdau_assets.storage.keys.salt_file", "put_pending"),
        Place("dpdau_assets.storage.keys.salt_file", "put_pending", "after"),
        Place("dpdau_assets.storage.keys.salt_file", "take_pending"),
        Place("dpdau_assets.storage.keys.salt_file", "take_pending", "after"),
    ),
    "retain": (
        Place("dpdau_assets.operations.lifecycle.apply_retention", "drop_rows"),
        Place("dpdau_assets.operations.lifecycle.apply_retention", "drop_rows", "after"),
        Place("dpdau_assets.operations.lifecycle.apply_retention", "drop_files", "after"),
        Place("dpdau_assets.operations.lifecycle.apply_retention", "destroy_secrets"),
        Place("dpdau_assets.operations.lifecycle.apply_retention", "destroy_epochs", "after"),
    ),
    "backup": (
        Place("dpdau_assets.storage.backups.backups", "copy_ledger"),
        Place("dpdau_assets.storage.backups.backups", "fault_in"),
        Place("dpdau_assets.storage.backups.backups", "read_manifest"),
        Place("dpdau_assets.storage.backups.backups", "copy_lake"),
        Place("dpdau_assets.storage.backups.backups", "copy_lake", "after"),
    ),
    "restore": (
        Place("dpdau_assets.operations.recover.restore", "RestoreWork.fill"),
        Place("dpdau_assets.operations.recover.restore", "RestoreWork.swap"),
        Place("dpdau_assets.operations.recover.restore", "RestoreWork.swap", "after"),
        Place("dpdau_assets.operations.recover.restore", "apply_all_erasures"),
        Place("dpdau_assets.operations.recover.restore", "apply_all_erasures", "after"),
    ),
    "journal": (
        Place("dpdau_assets.storage.journal.journal", "append_line"),
        Place("dpdau_assets.storage.journal.journal", "append_line", "after"),
    ),
    "answer": (Place("dpdau_assets.cli.output", "emit"),),
}
"""Points that are calls of the product's own functions."""

SYSTEM_CALLS = {
    "rename": ("replace", "rename", "link"),
    "remove": ("unlink", "rmdir"),
    "sync": ("fsync",),
    "write": ("write",),
}
"""Points that are system calls on names and files below the data folder; a killed `write` leaves half of its bytes."""

LEDGER = ("commit", "committed")
"""Just before a transaction that writes commits, and just after."""

POINTS = (*CALLS, *SYSTEM_CALLS, *LEDGER)


class Killer:
    """Counts how often each point is passed, and kills the process at one of them.

    Args:
        record: The file that tells about it afterwards.
        point: The point to die at, or `-`.
        nth: At which of its hits, from 1.
        data: The data folder; system calls elsewhere do not count.
    """

    def __init__(self, record: Path, *, point: str, nth: int, data: Path) -> None:
        self._record = record
        self._point = point
        self._nth = nth
        self._data = str(data)
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()

    def is_last(self, point: str) -> bool:
        """Counts a hit; whether the process is to die at it."""
        with self._lock:
            self._counts[point] += 1
            return point == self._point and self._counts[point] == self._nth

    def hit(self, point: str) -> None:
        """Counts a hit, and dies at the chosen one."""
        if self.is_last(point):
            self.die()

    def die(self) -> None:
        """Writes the record and kills the process."""
        self.write_record(died=True)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def write_record(self, *, died: bool) -> None:
        """Writes what was passed."""
        document = {"died_at": self._point if died else None, "counts": dict(self._counts)}
        self._record.write_bytes(json.dumps(document).encode())  # not by os.write: that is one of the points

    def is_inside(self, target: Any) -> bool:
        """Whether a path or an open descriptor belongs to the data folder."""
        try:
            path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else Path.cwd() / target
        except OSError:
            return False
        return str(path).startswith(self._data)

    def patch_all(self) -> None:
        """Wraps every place of every point."""
        for point, places in CALLS.items():
            for place in places:
                self._patch_call(point, place)
        for point, names in SYSTEM_CALLS.items():
            for name in names:
                wrapped = self._half_written if name == "write" else self._called
                setattr(os, name, wrapped(point, getattr(os, name)))
        self._patch_ledger()

    def _patch_call(self, point: str, place: Place) -> None:
        module = importlib.import_module(place.module)
        *path, name = place.name.split(".")
        owner: Any = module
        for part in path:
            owner = getattr(owner, part)
        original = getattr(owner, name)

        def wrapped(*arguments: Any, **named: Any) -> Any:
            if place.when == "before":
                self.hit(point)
            result = original(*arguments, **named)
            if place.when == "after":
                self.hit(point)
            return result

        setattr(owner, name, wrapped)
        for other in [one for known, one in sys.modules.items() if known.startswith("dpdau_assets.")]:
            if getattr(other, name, None) is original:
                setattr(other, name, wrapped)  # it was imported by name before

    def _called(self, point: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(target: Any, *arguments: Any, **named: Any) -> Any:
            if named.get("dir_fd") is not None or self.is_inside(target):
                self.hit(point)
            return original(target, *arguments, **named)

        return wrapped

    def _half_written(self, point: str, original: Callable[..., int]) -> Callable[..., int]:
        def wrapped(descriptor: int, content: Any) -> int:
            if self.is_inside(descriptor) and self.is_last(point):
                view = memoryview(content).cast("B")
                original(descriptor, view[: len(view) // 2])
                self.die()
            return original(descriptor, content)

        return wrapped

    def _patch_ledger(self) -> None:
        def before_commit(connection: Connection) -> None:
            if connection.get_execution_options().get("dpdau_begin") == "BEGIN IMMEDIATE":
                self.hit("commit")

        event.listen(Engine, "commit", before_commit)
        ledger_class = importlib.import_module("dpdau_assets.storage.ledger.ledger").Ledger
        original = ledger_class.write

        @contextmanager
        def write(ledger: Any) -> Iterator[Any]:
            with original(ledger) as connection:
                yield connection
            self.hit("committed")

        ledger_class.write = write


def launch(record: Path, point: str, nth: int, command: Sequence[str]) -> None:
    """Runs `dpdau ...` or `dagster ...` in this process with the points wrapped; leaves by SystemExit or SIGKILL."""
    killer = Killer(record, point=point, nth=nth, data=Path.cwd() / "data")
    killer.patch_all()
    program, sys.argv = command[0], list(command)
    if program == "dpdau":
        main = importlib.import_module("dpdau_assets.cli.main").main
    elif program == "dagster":
        main = importlib.import_module("dagster._cli").main
    else:
        raise ValueError(f"no such program here: {program}")
    try:
        main()
    finally:
        killer.write_record(died=False)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    launch(Path(arguments[0]).absolute(), arguments[1], int(arguments[2]), arguments[4:])
