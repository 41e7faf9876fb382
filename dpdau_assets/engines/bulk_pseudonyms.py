"""Pseudonyms of a list of ids under many epochs at once, in SQL.

Belongs here: the list that comes without days, as in an erasure request. Sources belong to `duckdb`. Raw ids exist in
memory only: the connection has no temporary directory, so it cannot spill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.engines.row_sql import USER_KEY, hmac_pads
from dpdau_assets.errors import StorageError

Keys = NDArray[np.uint64]

FEW_IDS = 2000
"""Up to this many, starting DuckDB costs more than the reference loop."""


def bulk_user_keys(
    ids: Sequence[bytes], epoch_keys: Iterable[tuple[int, bytes]], *, memory_limit: str, threads: int | None = None
) -> Mapping[int, Keys]:
    """The pseudonyms of `ids` under each epoch, bit-equal to `core.hashing.user_keys`.

    Args:
        ids: n ids of UTF-8, below 2 GiB together (sensitive).
        epoch_keys: Epochs with their keys (sensitive).
        memory_limit: DuckDB's memory limit, such as `1GB`.
        threads: DuckDB's threads; None lets DuckDB decide.

    Returns:
        uint64[n] by epoch, in no stated order (sensitive).

    Raises:
        StorageError: `memory_limit` is too small.
    """
    if len(ids) <= FEW_IDS:
        return {epoch: user_keys(key, ids) for epoch, key in epoch_keys}
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "temp_directory": ""}
    if threads is not None:
        config["threads"] = threads
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET enable_progress_bar = false")  # it would print between our own lines
        connection.register("asked", pa.table([_text_column(ids)], names=["user_id"]))
        try:
            return {epoch: _hashed(connection, key) for epoch, key in epoch_keys}
        except duckdb.OutOfMemoryException:
            raise StorageError(
                f"{len(ids):,} ids do not fit into DUCKDB_MEMORY_LIMIT={memory_limit}", hint="raise it in .env"
            ) from None


def _hashed(connection: duckdb.DuckDBPyConnection, key: bytes) -> Keys:
    found = connection.execute(f"SELECT {USER_KEY} AS user_key FROM asked", hmac_pads(key)).fetchnumpy()
    return np.asarray(found["user_key"], np.uint64)


def _text_column(ids: Sequence[bytes]) -> pa.Array:
    """The ids as a text column, from its buffers."""
    offsets = np.zeros(len(ids) + 1, np.int32)
    np.cumsum([len(one) for one in ids], out=offsets[1:])
    return pa.Array.from_buffers(pa.string(), len(ids), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(ids))])
