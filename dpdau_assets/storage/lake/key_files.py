"""Reads and writes key files and tables: a file appears complete or not at all, and reading can check its digest.

Belongs here: reading and writing one file. Does not belong here: its bytes (`parquet_bytes`), its path (`layout`), its
row in the ledger (`partitions`).

No output and no error of this module contains a value of the data.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.errors import DataError
from dpdau_assets.storage.disk.durable import read_bytes, write_bytes
from dpdau_assets.storage.lake.parquet_bytes import Keys, key_bytes, table_bytes
from dpdau_assets.storage.lake.plain_pages import plain_page
from dpdau_assets.storage.lake.tables import KEY_COLUMN

MAGIC = b"PAR1"
"""How every Parquet file starts and ends."""


def write_keys(path: Path, keys: Keys) -> str:
    """Replaces `path` by a key file and returns the SHA-256 of its bytes (64 hex characters).

    The file appears complete or not at all; it is durable only after `make_durable`. To replace files that are the only
    copy of their content, use a `WriteBatch`.

    Args:
        path: The file; its folder is created when missing.
        keys: uint64[n], sorted, unique; sensitive.

    Raises:
        StorageError: The disk is full or not writable; nothing is left behind.
    """
    return write_bytes(path, key_bytes(keys))


def write_table(path: Path, table: pa.Table) -> str:
    """Replaces `path` by `table` as deterministic Parquet, with the result and guarantees of `write_keys`."""
    return write_bytes(path, table_bytes(table))


def read_keys(path: Path, *, digest: str | None = None) -> Keys:
    """Returns the keys of a key file: uint64[n], sorted, unique; sensitive.

    Args:
        path: A file made by `write_keys`.
        digest: When given, the file's bytes must have this SHA-256.

    Raises:
        DataError: The file is missing, altered or not a key file.
    """
    content = read_bytes(path, digest=digest)
    page = single_page(content)
    if page is not None:
        return page
    column = _column(path, content, KEY_COLUMN)
    if column.type != pa.uint64() or column.null_count:
        raise _not_parquet(path)
    keys: Keys = column.to_numpy()
    return keys


def count_keys(path: Path) -> int:
    """Returns the number of keys in a key file (sensitive), from its footer; check the file's digest first.

    Raises:
        DataError: The file is missing or not a key file.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError):
        raise DataError(f"{path} cannot be read", hint="run `dpdau rebuild` over that day") from None


def check_key_file(path: Path) -> str | None:
    """Returns the digest of a key file that has no ledger row, None when the file is not intact.

    An intact file is Parquet with one column of sorted, unique pseudonyms, and every page matches its checksum (files
    of versions that wrote no checksums are accepted without).

    Raises:
        StorageError: The file cannot be read.
    """
    content = read_bytes(path)
    try:
        table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError):
        return None
    if table.schema.names != [KEY_COLUMN] or table.schema.field(0).type != pa.uint64() or table.column(0).null_count:
        return None
    keys = table.column(0).to_numpy()
    is_sorted = bool((keys[1:] > keys[:-1]).all())
    return hashlib.sha256(content).hexdigest() if is_sorted else None


def read_table(path: Path, *, digest: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns the table in a Parquet file, or some of its columns in the file's order. Raises as `read_keys` does."""
    content = read_bytes(path, digest=digest)
    try:
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError):
        raise _not_parquet(path) from None


def single_page(content: bytes | mmap.mmap) -> Keys | None:
    """Returns the keys of a file with one plain page, six times faster than through Arrow; None for any other file."""
    if content[:4] != MAGIC or content[-4:] != MAGIC:
        return None
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    page = plain_page(content, len(MAGIC))
    if page is None or page.end != footer or content.find(b"\x18\x08user_key", footer) < 0:
        return None
    return np.frombuffer(content, np.uint64, page.count, page.start)


def _column(path: Path, content: bytes, name: str) -> pa.ChunkedArray:
    try:
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=[name]).column(name)
    except (pa.ArrowException, OSError, KeyError):
        raise _not_parquet(path) from None


def _not_parquet(path: Path) -> DataError:
    return DataError(f"{path} is not a file this system wrote", hint="run `dpdau rebuild` over that day")
