"""Exact distinct users of windows, from the key files of their days.

Belongs here: choosing epochs, blocks of days and files for windows. Merging files into day bitmaps belongs to storage
(`merge_day_bitmaps`), the bit arithmetic to core (`windows`). All counts are sensitive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange
from dpdau_assets.core.windows import WORD_DAYS, Window, distinct_per_window
from dpdau_assets.operations.session.pieces import READ_THREADS, in_threads
from dpdau_assets.storage.lake.day_bitmaps import merge_day_bitmaps
from dpdau_assets.storage.lake.parquet_bytes import Keys

MAX_DAYS = 2 * WORD_DAYS
"""Days counted from one reading: an epoch of 90 days and the windows that start in it."""

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
    keys = in_threads(lambda item: read(item[0], block.epoch, item[1]), found)
    first, last = found[0][0], found[-1][0]
    bitmaps = merge_day_bitmaps(
        [(day - first).days for day, _ in found],
        keys,
        n_words=(last - first).days // WORD_DAYS + 1,
        threads=READ_THREADS,
    )

    def count_length(length: int) -> dict[Window, int]:
        windows = [window for window in block.windows if len(window) == length]
        ends = DayRange(windows[0].last, windows[-1].last)
        per_end = distinct_per_window(bitmaps, first_day=first, ends=ends, window_days=length)
        return {window: int(per_end[(window.last - ends.first).days]) for window in windows}

    lengths = sorted({len(window) for window in block.windows})
    return {window: count for counted in in_threads(count_length, lengths) for window, count in counted.items()}
