"""Which inbox files are complete: those whose size and time stood still between two ticks.

Dagster concept: the inbox sensor's cursor. Reading a file belongs to the op of `ingest_job`; a tick only looks at
names, sizes and times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dpdau_assets.orchestration.automation.run_requests import pause_seconds

IGNORED_SUFFIXES = (".tmp", ".part")
FILES_PER_RUN = 50


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the sensor remembers of a file.

    Attributes:
        size: Bytes.
        changed_ns: Time of the last change.
        attempts: Runs asked for so far; a file leaves the inbox when one has staged it.
        not_before: Unix time before which no further run is asked for.
    """

    size: int
    changed_ns: int
    attempts: int = 0
    not_before: float = 0.0

    def is_same_file(self, other: Sighting) -> bool:
        """Whether size and time stood still."""
        return (self.size, self.changed_ns) == (other.size, other.changed_ns)


Sightings = dict[str, Sighting]


def look(inbox: Path) -> Sightings:
    """The files of the inbox now, in order of their names; unfinished uploads, dotfiles and folders do not count."""
    found: Sightings = {}
    if not inbox.is_dir():
        return found
    for path in sorted(inbox.iterdir()):
        if path.name.startswith(".") or path.name.lower().endswith(IGNORED_SUFFIXES):
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            found[path.name] = Sighting(status.st_size, status.st_mtime_ns)
    return found


def choose(before: Mapping[str, Sighting], now_there: Mapping[str, Sighting], *, now: float) -> list[list[str]]:
    """The names to stage now, one list for each run.

    New files share runs; a file that an earlier run has left behind gets a run of its own, so that one bad file never
    holds up the others.

    Args:
        before: What the last tick saw.
        now_there: What this tick sees.
        now: Unix time.
    """
    still = [name for name, seen in now_there.items() if name in before and before[name].is_same_file(seen)]
    fresh = [name for name in still if not before[name].attempts]
    again = [name for name in still if before[name].attempts and before[name].not_before <= now]
    shared = [fresh[start : start + FILES_PER_RUN] for start in range(0, len(fresh), FILES_PER_RUN)]
    return shared + [[name] for name in again]


def remember(
    before: Mapping[str, Sighting], now_there: Mapping[str, Sighting], asked_for: set[str], *, now: float
) -> Sightings:
    """What the next tick needs to know: the files there now, with the attempts made for each."""
    kept: Sightings = {}
    for name, seen in now_there.items():
        known = before.get(name)
        kept[name] = known if known and known.is_same_file(seen) else seen
        if name in asked_for:
            attempts = kept[name].attempts + 1
            kept[name] = replace(kept[name], attempts=attempts, not_before=now + pause_seconds(attempts))
    return kept


def work_name(names: list[str], before: Mapping[str, Sighting]) -> str:
    """A name for the work on files in one state, the same for every attempt; a digest, for names can be long."""
    state = [[name, before[name].size, before[name].changed_ns] for name in names]
    return "inbox-" + hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def run_key(names: list[str], before: Mapping[str, Sighting]) -> str:
    """A key for one attempt on files in one state."""
    return f"{work_name(names, before)}/{max(before[name].attempts for name in names)}"


def to_cursor(sightings: Mapping[str, Sighting]) -> str:
    """The cursor as text."""
    return json.dumps(
        {name: [seen.size, seen.changed_ns, seen.attempts, seen.not_before] for name, seen in sightings.items()}
    )


def from_cursor(cursor: str | None) -> Sightings:
    """The inverse of `to_cursor`; nothing for the first tick."""
    return {name: Sighting(*values) for name, values in json.loads(cursor or "{}").items()}
