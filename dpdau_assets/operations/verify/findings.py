"""What a verification answers, and what it looks for: findings, and the tombstones that files must be clean of.

Belongs here: the shape of a finding and the sets of erased pseudonyms. Does not belong here: looking (`verify.lake`,
`other_places`, `verify.ledger`), the order of it (`verify`).

A finding never holds a pseudonym, an id or an exact count, and never says on which days somebody was found: those days
would be the person's calendar. Where a file of a partition holds an erased pseudonym, the place is the kind of file and
the whole range that was looked at.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import Tombstones
from dpdau_assets.storage.scan.byte_search import KeySearch

Kind = Literal["erased", "damaged", "unknown", "leftover", "ledger", "budget", "journal", "backup", "salts"]
"""erased: a pseudonym that must be gone; damaged: bytes that are not those recorded, or missing; unknown: a file that
no row names; leftover: something that a killed process left; the others: what disagrees."""

SALTS = "secrets/salts.json"
"""The place of every finding about the salt store."""
HOLDS = "holds the pseudonym of an erased user"


class Action(Enum):
    """What is to be done about a finding."""

    RESTORE = auto()
    RESTORE_LAKE = auto()
    REBUILD = auto()
    BACKUP = auto()
    FLUSH_DELETES = auto()
    APPLY_RETENTION = auto()
    DISCARD_BATCH = auto()
    WRITE_AGAIN = auto()
    """A command of its own writes the file anew."""
    REMOVE = auto()
    BACKUP_THEN_REMOVE = auto()
    REMOVE_THEN_BACKUP = auto()
    COPY = auto()
    """The better of two copies goes over the other."""
    REPAIR_SALTS = auto()
    """The right salt store is put back, imported, or closed to others."""
    NONE = auto()
    """No command repairs it."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What repairs a finding.

    Attributes:
        action: What is to be done; rules ask this.
        line: The command, or one line for a person where there is none.
        days: The days that a rebuild makes again.
        paths: What is to be removed; or where a file is to be copied from, and to.
    """

    action: Action
    line: str
    days: DayRange | None = None
    paths: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.line


class NoteKind(Enum):
    """What a note is about."""

    AT_WORK = auto()
    """Temporary files of a running process were not searched."""
    NOT_SEARCHED = auto()
    OVERFILLED = auto()
    """A cap is exceeded by what was charged as lost; that tells of no user."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a verification does not cover, or what is no fault."""

    kind: NoteKind
    line: str

    def __str__(self) -> str:
        return self.line


RESTORE = Repair(Action.RESTORE, "dpdau restore")
RESTORE_LAKE = Repair(Action.RESTORE_LAKE, "dpdau restore --lake")
BACKUP = Repair(Action.BACKUP, "dpdau backup")
FLUSH_DELETES = Repair(Action.FLUSH_DELETES, "dpdau flush-deletes")
APPLY_RETENTION = Repair(Action.APPLY_RETENTION, "dpdau apply-retention")
AT_WORK = Note(NoteKind.AT_WORK, "an operation is at work: its temporary files were not searched")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (trusted side).

    Attributes:
        kind: What is wrong.
        place: A kind of file with a contiguous range of days, or a path relative to DATA_DIR.
        message: One line.
        repair: What repairs it.
    """

    kind: Kind
    place: str
    message: str
    repair: Repair

    def to_json(self) -> dict[str, str]:
        """The finding as JSON."""
        return {"kind": self.kind, "place": self.place, "message": self.message, "repair": self.repair.line}


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found (trusted side).

    Attributes:
        findings: Everything that is wrong.
        pending: Work that is due and has not been done; not wrong.
        notes: What the verification does not cover here.
    """

    findings: tuple[Finding, ...]
    pending: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        """The verification as one JSON document."""
        return {
            "ok": self.ok,
            "findings": [finding.to_json() for finding in self.findings],
            "pending": list(self.pending),
            "notes": [note.line for note in self.notes],
        }


@dataclass
class Report:
    """A verification that is being made; findings come once, however often they are reported."""

    findings: dict[Finding, None] = field(default_factory=dict)
    pending: dict[str, None] = field(default_factory=dict)
    notes: dict[Note, None] = field(default_factory=dict)

    def find(self, kind: Kind, place: str, message: str, *, repair: Repair) -> None:
        """Reports a finding."""
        self.findings[Finding(kind, place, message, repair)] = None

    def wait(self, line: str) -> None:
        """Reports work that is due."""
        self.pending[line] = None

    def note(self, note: Note) -> None:
        """Reports what is not covered, or no fault."""
        self.notes[note] = None

    def finish(self) -> Verification:
        """The verification."""
        return Verification(tuple(self.findings), tuple(self.pending), tuple(self.notes))


class AppliedErasures:
    """The tombstones that must be gone from files, read at one state of the ledger (sensitive; prints as nothing).

    Args:
        completed: Those of complete requests, by epoch.
        applied: By the seq of a pending request: those of complete requests and of pending ones up to it, by epoch.
    """

    def __init__(self, completed: ErasedKeys, applied: dict[int, ErasedKeys], everything: Sequence[Tombstones]) -> None:
        self.completed = completed
        self._applied = applied
        self._everything = everything

    @classmethod
    def read(
        cls, connection: Connection, *, levels: Iterable[int], epochs: Container[int] | None = None
    ) -> AppliedErasures:
        """The tombstones of some epochs.

        Args:
            connection: A read transaction.
            levels: Up to which requests the partitions of interest are clean.
            epochs: The epochs; None for all.
        """
        known = [epoch for epoch in erasures.epochs(connection) if epochs is None or epoch in epochs]
        waiting = [request.seq for request in erasures.pending(connection)]
        by_epoch = {epoch: erasures.tombstones(connection, epoch, applied_upto=0) for epoch in known}
        completed = ErasedKeys(by_epoch)
        applied: dict[int, ErasedKeys] = {}
        for last in {max((seq for seq in waiting if seq <= level), default=0) for level in levels} - {0}:
            tombstones = {epoch: erasures.tombstones(connection, epoch, applied_upto=last) for epoch in known}
            applied[last] = ErasedKeys(tombstones)
        return cls(completed, applied, list(by_epoch.values()))

    def __repr__(self) -> str:
        return "AppliedErasures(...)"

    def __bool__(self) -> bool:
        return bool(self.completed) or any(self._applied.values())

    def upto(self, level: int) -> ErasedKeys:
        """What a partition that is clean up to the request `level` must not hold."""
        last = max((seq for seq in self._applied if seq <= level), default=None)
        return self.completed if last is None else self._applied[last]

    @cached_property
    def search(self) -> KeySearch:
        """A search for the pseudonyms of all complete requests, whatever their epoch and days."""
        keys = [tombstones.keys for tombstones in self._everything]
        return KeySearch(np.concatenate(keys) if keys else np.empty(0, np.uint64))


def day_range_text(days: DayRange) -> str:
    """A range in a place."""
    return f"{days.first}..{days.last}"


def rebuild_of(days: DayRange) -> Repair:
    """The repair that makes the partitions of `days` again."""
    return Repair(Action.REBUILD, f"dpdau rebuild --start {days.first} --end {days.last}", days=days)


def removal_of(path: Path, *, before: str = "", after: str = "") -> Repair:
    """The repair that removes a file or folder; `before` and `after` are what a person does or is told then."""
    return Repair(Action.REMOVE, f"{before}{_remove_command(path)}{after}", paths=(path,))


def backup_then_removal_of(*paths: Path) -> Repair:
    """The repair that removes files which nothing but a copy of the ledger makes dispensable."""
    commands = " and ".join(map(_remove_command, paths))
    return Repair(Action.BACKUP_THEN_REMOVE, f"{BACKUP}, then {commands}", paths=paths)


def removal_then_backup_of(path: Path, *, is_lake: bool) -> Repair:
    """The repair that makes a copy anew."""
    command = f"{BACKUP} --lake" if is_lake else BACKUP.line
    return Repair(Action.REMOVE_THEN_BACKUP, f"{_remove_command(path)}, then {command}", paths=(path,))


def copy_of(better: Path, worse: Path) -> Repair:
    """The repair that puts the better of two copies over the other."""
    return Repair(Action.COPY, shlex.join(["cp", str(better), str(worse)]), paths=(better, worse))


def _remove_command(path: Path) -> str:
    return f"rm -r {shlex.quote(str(path))}"
