"""Computes the pseudonyms of a list of ids under many epochs at once.

Belongs here: lists of ids without days, as in an erasure request. Sources belong to `engine`, hashing to `pseudonyms`.
Raw ids exist in memory only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dpdau_assets.core.hashing import user_keys

Keys = NDArray[np.uint64]

FEW_IDS = 2000
"""Up to this many ids, loading the compiled hashing costs more than the reference loop."""


def bulk_user_keys(
    ids: Sequence[bytes], epoch_keys: Iterable[tuple[int, bytes]], *, threads: int | None = None
) -> Mapping[int, Keys]:
    """The pseudonyms of `ids` under each epoch, bit-equal to `core.hashing.user_keys`.

    Args:
        ids: n ids of UTF-8, below 2 GiB together (sensitive).
        epoch_keys: Epochs with their keys (sensitive).
        threads: How many to use; None takes one for each processor.

    Returns:
        uint64[n] by epoch, in the order of `ids` (sensitive).
    """
    if len(ids) <= FEW_IDS:
        return {epoch: user_keys(key, ids) for epoch, key in epoch_keys}
    from dpdau_assets.engines.duckdb.pseudonyms import column_user_keys

    column = pa.chunked_array([_text_column(ids)])
    return {epoch: column_user_keys(column, key, threads=threads) for epoch, key in epoch_keys}


def _text_column(ids: Sequence[bytes]) -> pa.Array:
    """The ids as a text column, from its buffers."""
    offsets = np.zeros(len(ids) + 1, np.int32)
    np.cumsum([len(one) for one in ids], out=offsets[1:])
    return pa.Array.from_buffers(pa.string(), len(ids), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(ids))])
