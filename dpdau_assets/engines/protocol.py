"""The protocol of stage engines: an engine reads one source and gives sorted pseudonyms per day and epoch.

Belongs here: the types every engine shares. Does not belong here: how a source is read (`sources`), how one engine
works (`duckdb`), what happens to its results (`operations/ingest/stage.py`).

The guarantees of every engine: it reads the complete source; a row that fails is counted and never stops the file; raw
ids stay in memory and never reach a disk, a log or an error text; rows are not handled one by one in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, tzinfo
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.engines.sources.source import Source

Keys = NDArray[np.uint64]
ReadProgress = Callable[[int, int], None]
"""A function that is called with the units done and the total units while a source is read."""

LINES_KEPT = 1000
"""How many line numbers are kept per reason."""


@dataclass(frozen=True, slots=True)
class RowLimits:
    """The public limits of acceptance, by which `core.activity.REASONS` are found (public).

    Attributes:
        zone: TIMEZONE.
        today: Today in `zone`; rows of later days than tomorrow are refused.
        oldest_day: Rows of earlier days are refused as too old.
    """

    zone: tzinfo
    today: date
    oldest_day: date


@dataclass(frozen=True, slots=True, repr=False)
class IngestErasureFilter:
    """The erased users, by their pseudonyms of one epoch; used for days keyed under earlier epochs (sensitive).

    Every erased user has a tombstone under this epoch, whatever the last erased day is, but perhaps none under an
    earlier epoch. Their pseudonyms under both epochs can be linked only while the raw id is in memory.

    Attributes:
        epoch: The epoch of `keys`.
        keys: uint64[n], sorted, unique.
        through_days: datetime64[D][n], last erased day, per key.
    """

    epoch: int
    keys: Keys
    through_days: NDArray[np.datetime64]

    def erased_through(self, keys: Keys) -> NDArray[np.int64]:
        """Returns the last erased day of each key (any order), in days since 1970-01-01; -1 for users not erased."""
        if not self.keys.size:
            return np.full(len(keys), -1, np.int64)
        positions = np.minimum(np.searchsorted(self.keys, keys), self.keys.size - 1)
        days = self.through_days.astype("datetime64[D]").astype(np.int64)[positions]
        return np.where(self.keys[positions] == keys, days, -1)


@dataclass(frozen=True, slots=True, repr=False)
class Pseudonymiser:
    """Which epochs a day is keyed under, and their keys (sensitive; prints as nothing).

    Attributes:
        calendar: Epochs.
        window_days: Longest window in use.
        key_of: The 64-byte key of an epoch.
        erasure_filter: The users to leave out of epochs before the filter's, None to leave out nobody.
    """

    calendar: EpochCalendar
    window_days: int
    key_of: Callable[[int], bytes]
    erasure_filter: IngestErasureFilter | None = None


@dataclass(frozen=True, slots=True, repr=False)
class RowCounts:
    """How many rows of one source were accepted and refused (trusted side only; prints as nothing).

    Attributes:
        events: Rows read; blank lines are no rows.
        accepted: Rows that count, "+" and "-" together.
        erasures: Accepted rows with op "-".
        rejected: Refused rows by reason (`core.activity.REASONS`, in that order), reasons that occur only.
        lines: The first `LINES_KEPT` row numbers per reason, ascending, starting at 1: the line of a JSONL file, the
            record of a CSV file (its line unless a quoted field holds a line break; the header is record 1), the
            row of a Parquet file.
        days: Days with at least one accepted "+" row, ascending.
    """

    events: int
    accepted: int
    erasures: int
    rejected: Mapping[str, int]
    lines: Mapping[str, tuple[int, ...]]
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True, repr=False)
class DayKeys:
    """Who was active on a day, under one epoch (sensitive; prints as nothing).

    Attributes:
        day: The day.
        epoch: The epoch of the pseudonyms.
        keys: uint64[n], sorted, unique, n >= 1.
    """

    day: date
    epoch: int
    keys: Keys


@dataclass(frozen=True, slots=True, repr=False)
class ErasedKeys:
    """Whom the "-" rows erase, under one epoch (sensitive; prints as nothing).

    Attributes:
        epoch: The epoch of the pseudonyms.
        keys: uint64[n], sorted, unique, n >= 1.
        through_days: datetime64[D][n], last day to erase, per key.
    """

    epoch: int
    keys: Keys
    through_days: NDArray[np.datetime64]


class Reading(Protocol):
    """A source that has been read; its raw "-" ids live in memory until the context ends."""

    @property
    def counts(self) -> RowCounts:
        """What became of the rows."""
        ...

    @property
    def erased_through(self) -> date | None:
        """The last day of any accepted "-" row, None without one."""
        ...

    def erased_keys(self, epochs: Sequence[int], *, of_everybody: int) -> Iterator[ErasedKeys]:
        """The pseudonyms of the ids in "-" rows under each of `epochs` that starts by their last day.

        Args:
            epochs: Epochs in order.
            of_everybody: The one of them under which all ids are keyed, whatever their day.
        """
        ...


class StageEngine(Protocol):
    """Reads sources and turns them into pseudonyms."""

    def read(
        self,
        source: Source,
        pseudonymiser: Pseudonymiser,
        *,
        limits: RowLimits,
        sink: Callable[[DayKeys], None],
        progress: ReadProgress,
    ) -> AbstractContextManager[Reading]:
        """Reads all of `source` once; every accepted "+" row has reached `sink` when the context is entered.

        Guarantee: the pseudonyms are bit-equal to `core.hashing.user_key`, the days and reasons are those of
        `core.activity`. The same (day, epoch) may reach `sink` several times with disjoint keys: a source too large
        for the memory limit is read in parts by a hash of the id.

        Args:
            source: An opened source (sensitive content).
            pseudonymiser: Epochs and keys (sensitive).
            limits: What is accepted (public).
            sink: Takes the keys of one day and epoch (sensitive).
            progress: Receives the progress of the reading (public).

        Raises:
            InputError: The source cannot be read.
            StorageError: The memory limit is too small for even a small part.
        """
        ...
