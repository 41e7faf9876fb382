"""Computes the pseudonyms of a column of ids: HMAC-SHA256 in compiled code, bit-equal to `core.hashing.user_key`.

Belongs here: turning texts into 64-bit keys. Which ids are keyed under which epoch belongs to `engine`. Ids, keys and
pseudonyms are sensitive and stay in memory. Polars hashes about 2 million ids per second and processor; the same in
DuckDB SQL, `sha256($outer || unhex(sha256($inner || encode(id))))`, hashes half a million.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import polars_hash as plh
import pyarrow as pa
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

PIECE_IDS = 200_000
"""Number of ids hashed at a time, because each takes 64 hex characters of memory meanwhile."""


def column_user_keys(ids: pa.ChunkedArray, key: bytes, *, threads: int | None = None) -> Keys:
    """The pseudonyms of a text column in its order.

    Args:
        ids: n texts without nulls (sensitive).
        key: An epoch key: 64 ASCII characters (sensitive).
        threads: How many to use; None takes one for each processor.

    Returns:
        uint64[n] (sensitive).
    """
    pieces = [ids.slice(start, PIECE_IDS) for start in range(0, len(ids), PIECE_IDS)]
    secret = key.decode("ascii")
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        keys = list(pool.map(lambda piece: _piece_user_keys(piece, secret), pieces))
    return np.concatenate(keys) if keys else np.empty(0, np.uint64)


def _piece_user_keys(ids: pa.ChunkedArray, secret: str) -> Keys:
    frame = pl.DataFrame({"id": pl.from_arrow(ids.combine_chunks())})
    digest = plh.col("id").chash.hmac_sha256(key=secret)
    first_64_bits = digest.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64)
    keys: Keys = frame.select(first_64_bits).to_series().to_numpy()
    return keys
