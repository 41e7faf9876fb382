"""The words of the crash campaign: its calendar and settings, where each command can be killed, what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.quantities import DayRange

FIRST = date(2024, 3, 5)
LAST = FIRST + timedelta(days=12)
DAYS = DayRange(FIRST, LAST)
WINDOW_DAYS = 10
PERIOD = "2024-03"
RANDOM = "random moment"
SETTINGS: dict[str, Any] = {
    "series_start": FIRST,
    "series_end": LAST,
    "mau_window_days": WINDOW_DAYS,
    "hash_salt_rotation_days": 7,
    "dagster_history_days": 60,
    "sketch_impl": "set",
}
Event = tuple[str, date]
Erasure = tuple[str, date]

RELEASE_POINTS = (
    "recover",
    "fold",
    "build",
    "mark",
    "rename",
    "write",
    "remove",
    "sync",
    "charge",
    "draw",
    "journal",
    "commit",
    "committed",
)
STAGE_POINTS = ("stage", "write", "rename", "sync", "journal", "commit", "committed", "remove", "answer")
BACKUP_POINTS = ("backup", "write", "rename", "remove", "sync", "answer")
RESTORE_POINTS = ("restore", "mark", "write", "rename", "remove", "sync", "journal", "commit", "committed", "answer")
RETAIN_POINTS = (
    "retain",
    "build",
    "mark",
    "rename",
    "write",
    "remove",
    "sync",
    "journal",
    "commit",
    "committed",
    "answer",
)
REPLAY_POINTS = (
    "recover",
    "replay",
    "build",
    "mark",
    "rename",
    "write",
    "remove",
    "sync",
    "journal",
    "commit",
    "committed",
    "answer",
)


def day(offset: int) -> date:
    """The day that many days after the first."""
    return FIRST + timedelta(days=offset)


@dataclass(frozen=True)
class Command:
    """One command of the story.

    Attributes:
        kind: What it is called in tables.
        line: The command line.
        points: Points that it can be killed at.
        events: Activity that it brings.
        erasures: Erasures that it brings.
        stdin: What it reads.
        consumes: A file that is gone once the command has happened.
        clears: Whether no file holds a user of an acknowledged erasure once it is done.
        may_wait: Whether it may be repeated later, after other commands, when it was killed.
    """

    kind: str
    line: tuple[str, ...]
    points: tuple[str, ...]
    events: tuple[Event, ...] = ()
    erasures: tuple[Erasure, ...] = ()
    stdin: str = ""
    consumes: Path | None = None
    clears: bool = False
    may_wait: bool = True


@dataclass
class Tally:
    """What a campaign did.

    Attributes:
        hits: Kills by point.
        kinds: Kills by kind of command.
        completed: Commands that ran to their end.
        checks: How often everything was checked.
        passed: By kind, how often a run of it passed each point.
        seconds: By kind, how long a run of it took.
    """

    hits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    completed: int = 0
    checks: int = 0
    passed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        """All kills."""
        return sum(self.hits.values())

    def table(self) -> str:
        """Kills by point and by command, as text."""
        lines = [f"{self.kills} kills, {self.completed} commands completed, {self.checks} checks of everything"]
        for title, counts in (("point", self.hits), ("command", self.kinds)):
            lines += ["", f"{title:<22}kills", *(f"{name:<22}{count:>5}" for name, count in sorted(counts.items()))]
        return "\n".join(lines)
