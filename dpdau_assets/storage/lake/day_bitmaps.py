"""Exact unions over key files: one bitmap per key, with a bit for each day on which the key was seen.

Belongs here: merging many sorted arrays of keys. Does not belong here: counting windows over the bitmaps
(`core.windows`). A bitmap is a row of 64-bit words. Keys are never returned with their bitmaps, so no row of the result
names anyone.

The method: the leading bits of the keys divide them into ranges, and each file's part of a range is one slice because
files are sorted. Within a range all keys have the same leading bits, so these are shifted out and the day takes their
place. Sorting these 64-bit numbers once groups each key's days without a hash table. On 21.6 million keys of 2 million
users in 60 files this takes about a third of the time of a GROUP BY in DuckDB, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from dpdau_assets.storage.lake.parquet_bytes import Keys

DayBitmaps = npt.NDArray[np.uint64]

WORD_BITS = 6
"""log2 of the days in a word."""
MAXIMUM_WORDS = 1 << WORD_BITS
RANGE_KEYS = 1 << 17
"""Approximate upper limit of the keys in one range, small enough for the processor's cache."""
SMALL_KEYS = 1 << 14
"""Up to this many keys in all, dividing them into ranges costs more than it saves."""
_BIT = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
_DAY_MASK = np.uint64(63)


def merge_day_bitmaps(offsets: Sequence[int], parts: Sequence[Keys], *, n_words: int, threads: int = 1) -> DayBitmaps:
    """Returns one bitmap for each distinct key: uint64[n_keys, n_words], in an order that reveals no key.

    Args:
        offsets: Day of each part, counted from bit 0 of word 0.
        parts: uint64[n] each, sorted; sensitive.
        n_words: Words of 64 days per key, 1 to 64.
        threads: Ranges worked on at a time.
    """
    by_day: dict[int, list[Keys]] = {}
    for offset, part in zip(offsets, parts, strict=True):
        if len(part):
            by_day.setdefault(offset, []).append(part)
    days = [(offset, _sorted_together(found)) for offset, found in sorted(by_day.items())]
    if not days:
        return np.empty((0, n_words), np.uint64)
    if sum(len(keys) for _, keys in days) <= SMALL_KEYS:
        return _merge_few(days, n_words=n_words)
    range_bits = _range_bits(sum(len(keys) for _, keys in days))
    edges = np.arange(1, 1 << range_bits, dtype=np.uint64) << np.uint64(64 - range_bits)
    cuts = [np.concatenate(([0], np.searchsorted(keys, edges), [len(keys)])) for _, keys in days]

    def one_range(number: int) -> DayBitmaps:
        slices = [(offset, keys[cut[number] : cut[number + 1]]) for (offset, keys), cut in zip(days, cuts, strict=True)]
        return _merge_range(slices, range_bits=range_bits, n_words=n_words)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        return np.concatenate(list(pool.map(one_range, range(1 << range_bits))))


def _merge_few(days: Sequence[tuple[int, Keys]], *, n_words: int) -> DayBitmaps:
    """Returns the same as `merge_day_bitmaps`, computed without ranges."""
    offsets = np.repeat(np.array([offset for offset, _ in days]), [len(keys) for _, keys in days])
    distinct, rows = np.unique(np.concatenate([keys for _, keys in days]), return_inverse=True)
    result = np.zeros((len(distinct), n_words), np.uint64)
    np.bitwise_or.at(result, (rows, offsets >> WORD_BITS), _BIT[offsets & 63])
    return result


def _sorted_together(parts: list[Keys]) -> Keys:
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def _range_bits(keys: int) -> int:
    """Returns how many leading bits define a range: at least as many as a day within a word needs."""
    return max(WORD_BITS, (keys // RANGE_KEYS).bit_length())


def _merge_range(slices: Sequence[tuple[int, Keys]], *, range_bits: int, n_words: int) -> DayBitmaps:
    """Returns the bitmaps of the keys of one range; all these keys share their leading `range_bits`."""
    keys_of_word: list[Keys] = []
    bits_of_word: list[DayBitmaps] = []
    for word in range(n_words):
        chosen = [(offset & 63, keys) for offset, keys in slices if offset >> WORD_BITS == word]
        keys, bits = _merge_one_word(chosen, range_bits=range_bits)
        keys_of_word.append(keys)
        bits_of_word.append(bits)
    if n_words == 1:
        return bits_of_word[0][:, np.newaxis]
    return _join_words(keys_of_word, bits_of_word)


def _merge_one_word(slices: Sequence[tuple[int, Keys]], *, range_bits: int) -> tuple[Keys, DayBitmaps]:
    """Returns distinct keys (leading bits shifted out, WORD_BITS zero bits in front) and their days in one word."""
    packed = np.empty(sum(len(keys) for _, keys in slices), np.uint64)
    position = 0
    for day, keys in slices:
        target = packed[position : position + len(keys)]
        np.left_shift(keys, np.uint64(range_bits), out=target)
        # the lowest bits below the day come from a wider range than a word needs and are zero
        np.right_shift(target, np.uint64(range_bits - WORD_BITS), out=target)
        target |= np.uint64(day)
        position += len(keys)
    packed.sort()
    keys = packed >> np.uint64(WORD_BITS)
    starts = _starts(keys)
    packed &= _DAY_MASK
    bits = _BIT.take(packed.view(np.int64), mode="wrap")
    return keys[starts], (np.bitwise_or.reduceat(bits, starts) if len(starts) else bits)


def _join_words(keys_of_word: Sequence[Keys], bits_of_word: Sequence[DayBitmaps]) -> DayBitmaps:
    """Returns one row per distinct key over all words."""
    packed = np.concatenate(
        [(keys << np.uint64(WORD_BITS)) | np.uint64(word) for word, keys in enumerate(keys_of_word)]
    )
    order = np.argsort(packed)
    packed = packed[order]
    keys = packed >> np.uint64(WORD_BITS)
    is_new = np.zeros(len(keys), np.int64)
    is_new[_starts(keys)] = 1
    rows = np.cumsum(is_new) - 1
    result = np.zeros((int(rows[-1]) + 1 if len(rows) else 0, len(keys_of_word)), np.uint64)
    result[rows, (packed & _DAY_MASK).view(np.int64)] = np.concatenate(list(bits_of_word))[order]
    return result


def _starts(keys: Keys) -> npt.NDArray[np.int64]:
    """Returns the position where each run of equal keys starts."""
    if not len(keys):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
