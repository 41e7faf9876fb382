"""What a verification answers, and what it looks for: findings, and the tombstones that files must be clean of.

Belongs here: the shape of a finding and the sets of erased pseudonyms. Does not belong here: looking (`verify_lake`,
`verify_places`, `verify_ledger`), the order of it (`verify`).

A finding never holds a pseudonym, an id or an exact count, and never says on which days somebody was found: those days
would be the person's calendar. Where a file of a partition holds an erased pseudonym, the place is the kind of file and
the whole range that was looked at.
"""

from __future__ import annotations

import shlex
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
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

AT_WORK = "an operation is at work: its files in waiting were not searched"
HOLDS = "holds the pseudonym of an erased user"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (trusted side).

    Attributes:
        kind: What is wrong.
        place: A kind of file with a contiguous range of days, or a path relative to DATA_DIR.
        message: One line.
        repair: The command that repairs it, or one line where there is none.
    """

    kind: Kind
    place: str
    message: str
    repair: str

    def to_json(self) -> dict[str, str]:
        """The finding as JSON."""
        return {"kind": self.kind, "place": self.place, "message": self.message, "repair": self.repair}


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
    notes: tuple[str, ...] = ()

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
            "notes": list(self.notes),
        }


@dataclass
class Report:
    """A verification that is being made; findings come once, however often they are reported."""

    findings: dict[Finding, None] = field(default_factory=dict)
    pending: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def find(self, kind: Kind, place: str, message: str, *, repair: str) -> None:
        """Reports a finding."""
        self.findings[Finding(kind, place, message, repair)] = None

    def wait(self, line: str) -> None:
        """Reports work that is due."""
        self.pending[line] = None

    def note(self, line: str) -> None:
        """Reports what is not covered."""
        self.notes[line] = None

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
            stones = {epoch: erasures.tombstones(connection, epoch, applied_upto=last) for epoch in known}
            applied[last] = ErasedKeys(stones)
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
        keys = [stones.keys for stones in self._everything]
        return KeySearch(np.concatenate(keys) if keys else np.empty(0, np.uint64))


def day_range_text(days: DayRange) -> str:
    """A range in a place."""
    return f"{days.first}..{days.last}"


def rebuild_command(days: DayRange) -> str:
    """The command that makes the partitions of `days` again."""
    return f"dpdau rebuild --start {days.first} --end {days.last}"


def remove_command(path: Path) -> str:
    """The command that removes a file."""
    return f"rm -r {shlex.quote(str(path))}"
