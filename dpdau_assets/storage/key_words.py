"""Exact unions over key files: which days each key was seen, as words of bits.

Belongs here: reading many sorted key files and merging them. Does not belong here: counting windows over the words
(`core.windows`). Keys are never returned with their words, so no row of the result names anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from dpdau_assets.storage.files import Keys, read_keys


def union_keys(paths: Sequence[Path]) -> Keys:
    """The sorted distinct keys of several key files: uint64[n]; sensitive."""
    parts = [read_keys(path) for path in paths]
    if not parts:
        return np.empty(0, np.uint64)
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))


def key_words(
    connect: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
    files: Sequence[tuple[Path, date]],
    *,
    first_day: date,
    words: int,
) -> npt.NDArray[np.uint64]:
    """For each distinct key the days it was seen: bit `i % 64` of word `i // 64` is day `first_day + i`.

    Args:
        connect: Opens a DuckDB connection.
        files: Key files with the day each belongs to; all of one epoch; days in range; sensitive content.
        first_day: The day of bit 0 of word 0.
        words: Words per key, at least 1.

    Returns:
        uint64[n_keys, words], rows in no order; sensitive.
    """
    if not files:
        return np.empty((0, words), np.uint64)
    parts = []
    parameters = []
    for path, day in files:
        offset = (day - first_day).days
        columns = ", ".join(
            f"{1 << (offset % 64) if word == offset // 64 else 0}::UBIGINT AS w{word}" for word in range(words)
        )
        parts.append(f"SELECT user_key, {columns} FROM read_parquet(?)")
        parameters.append(str(path))
    totals = ", ".join(f"bit_or(w{word}) AS w{word}" for word in range(words))
    with connect() as connection:
        found = connection.execute(
            f"SELECT {totals} FROM ({' UNION ALL '.join(parts)}) GROUP BY user_key", parameters
        ).fetchnumpy()
    return np.column_stack([found[f"w{word}"] for word in range(words)]).astype(np.uint64, copy=False)
