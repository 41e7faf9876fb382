"""Windows of 1, 7 and N days: the days that a window holds, and the number of users in each of many windows.

The exact counts come from day bitmaps: one 64-bit word per user and 64 days, one bit per day. Where the bitmaps
come from does not belong here (storage/lake.py), nor does counting by samples (`sketches`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core import quantities
from dpdau_assets.core.quantities import DayRange, Metric
from dpdau_assets.errors import UsageError

WORD_DAYS = 64
MAX_WINDOW_DAYS = 64

_WORDS_PER_BLOCK = 1 << 19
_LEAF_WORDS = 255
"""Few enough that the count of a bit fits one byte."""

DayBitmaps = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Window(DayRange):
    """The days that one release counts together (public).

    Attributes:
        first: First day, counted.
        last: Last day, counted: the day of the release.
    """


def window_of(metric: Metric, day: date, *, mau_window_days: int) -> Window:
    """The window of `metric` that ends on `day`; MAU over [d-29, d] when `mau_window_days` is 30."""
    length = quantities.window_days(metric, mau_window_days)
    return Window(day - timedelta(days=length - 1), day)


def distinct_per_window(
    bitmaps: NDArray[np.uint64], *, first_day: date, ends: DayRange, window_days: int
) -> NDArray[np.int64]:
    """Exact number of users active in each window that ends on a day of `ends`.

    Guarantee: exact for any number of users and words. Days outside the bitmaps count as days without activity.
    Temporary memory stays below 16 MiB whatever the size of `bitmaps`.

    Args:
        bitmaps: uint64[n_users, n_words], one row per user; bit i (value 2^i) of word j says "active on day
            `first_day` + 64 j + i" (sensitive).
        first_day: Day of bit 0 of word 0 (public).
        ends: Last days of the windows (public).
        window_days: Length of every window, 1 to 64 (public).

    Returns:
        int64[len(ends)], in the order of the days (sensitive).

    Raises:
        UsageError: `window_days` is out of range.
    """
    if not 1 <= window_days <= MAX_WINDOW_DAYS:
        raise UsageError(f"a window of {window_days} days cannot be counted", hint=f"use 1 to {MAX_WINDOW_DAYS} days")
    offset = (ends.first - first_day).days
    # Only words that hold a needed day are read; one empty word after them serves windows that end later.
    low = max(0, (offset - window_days + 1) // WORD_DAYS)
    high = min(bitmaps.shape[1], (offset + len(ends) - 1) // WORD_DAYS + 1)
    per_window = np.zeros(len(ends), dtype=np.int64)
    if low >= high or bitmaps.shape[0] == 0:
        return per_window
    per_day = _users_per_trailing_window(bitmaps[:, low:high], window_days, skip=max(0, offset) // WORD_DAYS - low)
    start = offset - low * WORD_DAYS
    known = slice(max(0, -start), max(0, min(len(ends), per_day.size - start)))
    per_window[known] = per_day[max(0, start) : max(0, start) + known.stop - known.start]
    return per_window


def _users_per_trailing_window(bitmaps: DayBitmaps, window_days: int, *, skip: int) -> NDArray[np.int64]:
    """int64[64 (n_words + 1)]: for every day, users with a bit in the last `window_days` days; `skip` words stay 0."""
    n_users, n_words = bitmaps.shape
    totals = np.zeros((n_words + 1, WORD_DAYS), dtype=np.int64)
    users_per_block = max(1, _WORDS_PER_BLOCK // (n_words + 1))
    for start in range(0, n_users, users_per_block):
        block = bitmaps[start : start + users_per_block]
        columns = np.zeros((n_words + 1, block.shape[0]), dtype=np.uint64)
        columns[:n_words] = block.T
        _spread_forward(columns, window_days)
        for index in range(max(0, skip), n_words + 1):
            totals[index] += _count_bits(columns[index])
    return totals.reshape(-1)


def _spread_forward(columns: DayBitmaps, window_days: int) -> None:
    """Sets, in place, every bit that has a set bit among the `window_days` days up to it.

    `columns` is uint64[n_words, n_users]. The span seen doubles with each step: 1, 2, 4, ... days.
    """
    seen = 1
    while seen < window_days:
        shift = min(seen, window_days - seen)
        carried = columns[:-1] >> np.uint64(WORD_DAYS - shift)
        columns |= columns << np.uint64(shift)
        columns[1:] |= carried
        seen += shift


def _count_bits(column: DayBitmaps) -> NDArray[np.int64]:
    """int64[64]: how many of the words have bit i set.

    Three words of weight w become one of weight w and one of weight 2w by a full adder (carry-save), until few
    enough are left to unpack: about five word operations per word instead of 64.
    """
    if column.size <= _LEAF_WORDS:
        as_bytes = column.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)
        bits = np.unpackbits(as_bytes, axis=1, bitorder="little")
        counts: NDArray[np.int64] = bits.sum(axis=0, dtype=np.uint8).astype(np.int64)
        return counts
    third = column.size // 3
    first, second, third_part = column[:third], column[third : 2 * third], column[2 * third : 3 * third]
    half = first ^ second
    carries = (first & second) | (half & third_part)
    half ^= third_part
    rest = column[3 * third :]
    sums = np.concatenate((half, rest)) if rest.size else half
    return _count_bits(sums) + 2 * _count_bits(carries)
