"""Words of days from sorted keys: for every user one bit per active day, slice by slice of the key space.

The merge of many days' keys belongs here; counting windows over the words does not (`windows`), nor does reading
files (storage). Keys are random 64-bit numbers, so slices of equal width hold about equally many users.

Reference: in one slice the leading bits of all keys agree, so (key << shift | day) still fits 64 bits and tells users
apart; sorting that one number per user and day brings the days of a user together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.windows import WORD_DAYS
from dpdau_assets.errors import InternalError

Keys = NDArray[np.uint64]
Words = NDArray[np.uint64]

MAX_WORDS = 2
MAX_DAYS = MAX_WORDS * WORD_DAYS
SMALL_KEYS = 1 << 16
"""Up to this many keys in all are merged in one slice."""


class DayWords:
    """The activity of some days as words of bits, made one slice of the users at a time.

    Guarantee: every user is in exactly one slice, with all of its days, so a count of users is the sum over slices.

    Args:
        days: Pairs of a day and its keys (uint64[n], sorted, unique, all pseudonyms of one epoch; sensitive); a day
            may come more than once.
        first_day: The day of bit 0 of word 0; no day lies before it (public).
        n_words: Words per user, 1 or 2; every day is below `first_day` + 64 `n_words` (public).
    """

    def __init__(self, days: Sequence[tuple[date, Keys]], *, first_day: date, n_words: int) -> None:
        offsets = [(day - first_day).days for day, _ in days]
        if not 1 <= n_words <= MAX_WORDS or any(not 0 <= offset < n_words * WORD_DAYS for offset in offsets):
            raise InternalError(f"day words hold 1 to {MAX_DAYS} days from their first")
        self._parts = [(offset, keys) for offset, (_, keys) in zip(offsets, days, strict=True) if keys.size]
        self._n_words = n_words
        self._shift = 6 if n_words == 1 else 7
        self._is_small = sum(keys.size for _, keys in self._parts) <= SMALL_KEYS
        self._cuts = [] if self._is_small else [self._cut(keys) for _, keys in self._parts]

    def __len__(self) -> int:
        """How many slices there are."""
        return 1 if self._is_small else 1 << self._shift

    def slice_words(self, index: int) -> Words:
        """The words of one slice: uint64[n_users, n_words], bit i of word j = active on first_day + 64 j + i.

        Args:
            index: 0 .. len - 1.

        Returns:
            Sensitive; rows in no stated order.
        """
        if self._is_small:
            return self._merge_small()
        pieces = [
            (keys[cuts[index] : cuts[index + 1]] << np.uint64(self._shift)) | np.uint64(offset)
            for (offset, keys), cuts in zip(self._parts, self._cuts, strict=True)
        ]
        packed = np.concatenate(pieces)
        packed.sort()
        return self._merge(packed >> np.uint64(self._shift), packed)

    def _cut(self, keys: Keys) -> NDArray[np.int64]:
        """Where each slice starts in `keys`, with the end."""
        edges = np.arange(1, 1 << self._shift, dtype=np.uint64) << np.uint64(64 - self._shift)
        return np.concatenate(([0], np.searchsorted(keys, edges), [keys.size])).astype(np.int64)

    def _merge_small(self) -> Words:
        if not self._parts:
            return np.empty((0, self._n_words), np.uint64)
        keys = np.concatenate([keys for _, keys in self._parts])
        offsets = np.repeat(
            np.array([offset for offset, _ in self._parts], np.uint64), [keys.size for _, keys in self._parts]
        )
        order = np.argsort(keys)
        return self._merge(keys[order], offsets[order])

    def _merge(self, keys: Keys, packed: Keys) -> Words:
        """One row per run of equal `keys`; the low bits of `packed` hold the day."""
        if keys.size == 0:
            return np.empty((0, self._n_words), np.uint64)
        is_first = np.empty(keys.size, np.bool_)
        is_first[0] = True
        np.not_equal(keys[1:], keys[:-1], out=is_first[1:])
        starts = np.flatnonzero(is_first)
        bits = np.left_shift(np.uint64(1), packed & np.uint64(WORD_DAYS - 1))
        if self._n_words == 1:
            return np.bitwise_or.reduceat(bits, starts)[:, np.newaxis]
        is_second = (packed & np.uint64(WORD_DAYS)) != 0
        return np.column_stack(
            [
                np.bitwise_or.reduceat(np.where(is_second, np.uint64(0), bits), starts),
                np.bitwise_or.reduceat(np.where(is_second, bits, np.uint64(0)), starts),
            ]
        )
