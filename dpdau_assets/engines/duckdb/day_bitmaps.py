"""Day bitmaps in words of 64 days: finds the words of a user that an epoch needs, and the keys of each day.

Belongs here: arithmetic on blocks, bits and sorted keys. Does not belong here: running queries (`duckdb`).
Day d (days since 1970) is bit (d + alignment) mod 64 of block (d + alignment) div 64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.engines.protocol import Keys

BLOCK_DAYS = 64
_ALL_DAYS = (1 << BLOCK_DAYS) - 1


def day_number(day: date) -> int:
    """Days from 1970-01-01 to `day`."""
    return (day - EARLIEST_DAY).days


def days_of_blocks(blocks: Mapping[int, int], *, alignment: int) -> list[date]:
    """The days whose bits are set, ascending.

    Args:
        blocks: Word per block number.
        alignment: 0..63.
    """
    return [
        EARLIEST_DAY + timedelta(days=block * BLOCK_DAYS + bit - alignment)
        for block, word in sorted(blocks.items())
        for bit in range(BLOCK_DAYS)
        if word >> bit & 1
    ]


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The words that hold the days keyed under one epoch (public apart from which days occur).

    Attributes:
        epoch: The epoch.
        masks: Per block, the bits of the days that occur and are keyed under it; never 0.
    """

    epoch: int
    masks: Mapping[int, int]

    def query(self, *, part: str = "true") -> str:
        """SQL over table activity that gives user_id, code and word.

        Args:
            part: SQL truth of the ids to take.
        """
        first, last = min(self.masks), max(self.masks)
        if first == last:
            word = f"word & {self.masks[first]}::UBIGINT"
            return f"SELECT user_id, code, {word} AS word FROM activity WHERE code = {first} AND {word} <> 0 AND {part}"
        edges = f"WHEN {first} THEN {self.masks[first]}::UBIGINT WHEN {last} THEN {self.masks[last]}::UBIGINT"
        word = f"word & CASE code {edges} ELSE {_ALL_DAYS}::UBIGINT END"
        chosen = f"code BETWEEN {first} AND {last} AND {word} <> 0 AND {part}"
        return f"SELECT user_id, code, {word} AS word FROM activity WHERE {chosen}"


def epoch_plans(days: Iterable[date], calendar: EpochCalendar, *, window_days: int, alignment: int) -> list[EpochPlan]:
    """Which words every epoch needs so that each of `days` is keyed under all its epochs, by ascending epoch."""
    masks: dict[int, dict[int, int]] = {}
    for day in days:
        block, bit = divmod(day_number(day) + alignment, BLOCK_DAYS)
        for epoch in calendar.keyed_epochs(day, window_days):
            of_epoch = masks.setdefault(epoch, {})
            of_epoch[block] = of_epoch.get(block, 0) | 1 << bit
    return [EpochPlan(epoch, of_epoch) for epoch, of_epoch in sorted(masks.items())]


def split_days(
    keys: Keys,
    codes: NDArray[np.int32],
    bitmaps: NDArray[np.uint64],
    *,
    plan: EpochPlan,
    alignment: int,
    threads: int = 1,
) -> Iterator[tuple[date, Keys]]:
    """The sorted unique keys of every day of `plan` that has some, ascending by day.

    At most as many days as threads are held in memory, however slowly the caller takes them.

    Args:
        keys: uint64[n], one per user and block, in any order; sensitive.
        codes: int32[n], the block.
        bitmaps: uint64[n], the bits of the days active.
        plan: Which blocks and bits.
        alignment: 0..63.
        threads: Days selected at once.
    """
    order = np.argsort(keys) if len(plan.masks) == 1 else np.lexsort((keys, codes))
    keys, bitmaps = keys[order], bitmaps[order]
    blocks = sorted(plan.masks)
    bounds = [0, *np.searchsorted(codes[order], blocks[1:]), len(keys)]
    with ThreadPoolExecutor(threads) as pool:
        for index, block in enumerate(blocks):
            block_keys, block_bitmaps = (
                keys[bounds[index] : bounds[index + 1]],
                bitmaps[bounds[index] : bounds[index + 1]],
            )
            has_collision = bool((block_keys[1:] == block_keys[:-1]).any())
            days = days_of_blocks({block: plan.masks[block]}, alignment=alignment)
            bits = [(day_number(day) + alignment) % BLOCK_DAYS for day in days]
            keys_of = partial(_keys_with, block_keys, _bytes_apart(block_bitmaps))
            for start in range(0, len(days), threads):
                chosen = pool.map(keys_of, bits[start : start + threads])
                for day, day_keys in zip(days[start : start + threads], chosen, strict=True):
                    if len(day_keys):
                        yield day, np.unique(day_keys) if has_collision else day_keys


def _bytes_apart(bitmaps: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Returns uint8[8, n], one row for each byte of the bitmaps, lowest first, so that a day reads one eighth."""
    return np.ascontiguousarray(bitmaps.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8).T)


def _keys_with(keys: Keys, rows: NDArray[np.uint8], bit: int) -> Keys:
    """Returns the keys whose word has `bit`; compress takes a fifth of the time of indexing and lets threads run."""
    return np.compress((rows[bit >> 3] & np.uint8(1 << (bit & 7))) != 0, keys)


def day_bitmaps_after(
    codes: NDArray[np.int32], bitmaps: NDArray[np.uint64], through: NDArray[np.int64], *, alignment: int
) -> NDArray[np.uint64]:
    """The bitmaps without the bits of days up to `through`.

    Args:
        codes: int32[n], the block of each bitmap.
        bitmaps: uint64[n], the bits of days; sensitive.
        through: int64[n], days since 1970-01-01; -1 keeps every bit.
        alignment: 0..63.
    """
    gone = np.clip(through + alignment + 1 - codes.astype(np.int64) * BLOCK_DAYS, 0, BLOCK_DAYS)
    gone[through < 0] = 0
    kept = np.left_shift(np.uint64(_ALL_DAYS), np.minimum(gone, BLOCK_DAYS - 1).astype(np.uint64))
    return bitmaps & np.where(gone == BLOCK_DAYS, np.uint64(0), kept)
