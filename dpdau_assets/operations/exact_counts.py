"""Exact distinct users of windows, from the key files of their days.

Belongs here: choosing epochs, blocks of days and files for windows, and summing over slices of the users. The bit
arithmetic belongs to core (`day_words`, `windows`). All counts are sensitive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dpdau_assets.core.day_words import MAX_DAYS, DayWords, Keys
from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange
from dpdau_assets.core.windows import WORD_DAYS, Window, distinct_per_window
from dpdau_assets.errors import DataError

COUNT_THREADS = 2

KeyFiles = Callable[[date, int], Sequence[Path]]
"""The key files of a day under an epoch; several when some are staged."""
ReadKeys = Callable[[date, int, Path], Keys]
"""The keys of one of them that are live on the day, checked against what was recorded."""


@dataclass(frozen=True, slots=True)
class Block:
    """Windows that are counted together (public).

    Attributes:
        epoch: The epoch of all of them.
        windows: Windows that start less than `MAX_DAYS` days before the last one ends.
    """

    epoch: int
    windows: tuple[Window, ...]

    @property
    def days(self) -> DayRange:
        """All days of the windows, none before 1970-01-01."""
        first = max(min(window.first for window in self.windows), EARLIEST_DAY)
        return DayRange(first, max(window.last for window in self.windows))


def count_windows(
    windows: Iterable[Window], *, calendar: EpochCalendar, files: KeyFiles, read: ReadKeys
) -> dict[Window, int]:
    """Exact distinct users of each window (sensitive).

    Guarantee: each window is counted under the epoch of its first day; a day without files counts as empty.

    Args:
        windows: Windows of at most 64 days.
        calendar: Epochs in use.
        files: Finds the key files of a day.
        read: Reads one.

    Raises:
        DataError: `read` found a file that is not the recorded one.
    """
    counts: dict[Window, int] = {}
    for block in blocks_of(windows, calendar):
        counts.update(_count_block(block, files, read))
    return counts


def blocks_of(windows: Iterable[Window], calendar: EpochCalendar) -> list[Block]:
    """The windows in blocks of one epoch and at most `MAX_DAYS` days."""
    by_epoch: dict[int, list[Window]] = {}
    for window in sorted(set(windows), key=lambda window: (window.first, window.last)):
        by_epoch.setdefault(calendar.window_epoch(window.first), []).append(window)
    blocks: list[Block] = []
    for epoch, members in sorted(by_epoch.items()):
        current: list[Window] = []
        for window in members:
            if current and (window.last - current[0].first).days >= MAX_DAYS:
                blocks.append(Block(epoch, tuple(current)))
                current = []
            current.append(window)
        blocks.append(Block(epoch, tuple(current)))
    return blocks


def _count_block(block: Block, files: KeyFiles, read: ReadKeys) -> dict[Window, int]:
    """Counts the windows of one block from one reading of its files."""
    found = [(day, path) for day in block.days for path in files(day, block.epoch)]
    if not found:
        return dict.fromkeys(block.windows, 0)
    with ThreadPoolExecutor(COUNT_THREADS) as pool:
        keys = list(pool.map(lambda item: read(item[0], block.epoch, item[1]), found))
        first, last = found[0][0], found[-1][0]
        words = DayWords(
            [(day, part) for (day, _), part in zip(found, keys, strict=True)],
            first_day=first,
            n_words=(last - first).days // WORD_DAYS + 1,
        )
        spans = _spans(block.windows)
        sums = list(pool.map(lambda index: _count_slice(words, index, first, spans), range(len(words))))
    totals = {length: np.sum([part[length] for part in sums], axis=0) for length in spans}
    return {window: int(totals[len(window)][(window.last - spans[len(window)].first).days]) for window in block.windows}


def _spans(windows: Sequence[Window]) -> Mapping[int, DayRange]:
    """For each window length the first to the last end."""
    ends: dict[int, list[date]] = {}
    for window in windows:
        ends.setdefault(len(window), []).append(window.last)
    return {length: DayRange(min(days), max(days)) for length, days in ends.items()}


def _count_slice(
    words: DayWords, index: int, first_day: date, spans: Mapping[int, DayRange]
) -> dict[int, NDArray[np.int64]]:
    """Counts by window length for the users of one slice."""
    part = words.slice_words(index)
    return {
        length: distinct_per_window(part, first_day=first_day, ends=ends, window_days=length)
        for length, ends in spans.items()
    }


def count_keys(path: Path) -> int:
    """The number of keys in a key file, from its footer; check the file's digest first. Sensitive.

    Raises:
        DataError: The file is missing or not a key file.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        raise DataError(f"{path} cannot be read", hint="run `dpdau rebuild` over that day") from None
