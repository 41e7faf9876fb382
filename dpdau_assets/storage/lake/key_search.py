"""Finds out whether a key file holds any of a few keys, without reading the rest of the file.

Belongs here: finding sorted keys through the statistics and pages of a file. Reading a complete file belongs to
`key_files`, the choice of keys to operations/live_users.

Only the pages that a binary search touches are read from the disk, so the file is not checked against the digest in the
ledger. A finding only means that the file must be read, and that read checks it in full. Altered bytes that hide a key
are found by the commands that check every file (`dpdau verify`, `dpdau rebuild`), never here.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.storage.disk.durable import missing_file
from dpdau_assets.storage.disk.os_errors import storage_error
from dpdau_assets.storage.lake.key_files import read_keys, single_page
from dpdau_assets.storage.lake.parquet_bytes import Keys
from dpdau_assets.storage.lake.plain_pages import plain_page

KEYS_PER_READ = 256
"""A search for more than one key in this many touches every page of a file; reading the file costs the same."""


def holds_any(path: Path, keys: Keys) -> bool:
    """Returns whether the key file at `path` holds one of `keys`.

    Args:
        path: A file made by `key_files.write_keys`.
        keys: uint64[n], sorted, unique; sensitive.

    Raises:
        DataError: The file is missing or not a key file.
        StorageError: It cannot be read.
    """
    return bool(found_keys(path, keys).size)


def found_keys(path: Path, keys: Keys) -> Keys:
    """Returns those of `keys` that the key file at `path` holds: uint64[m], sorted; sensitive. See `holds_any`."""
    if not keys.size:
        return keys
    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise missing_file(path) from None
    except ValueError:  # an empty file
        return _common(read_keys(path), keys)
    except OSError as error:
        raise storage_error(error, path, "read") from error
    pages = _pages(content, keys)
    if pages is None:
        return _common(read_keys(path), keys)
    found = [_common(page, wanted) for page, wanted in pages]
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def is_worth_searching(path: Path, keys: Keys) -> bool:
    """Returns whether a search for `keys` reads only little of the file; otherwise reading the file is as fast.

    It raises as `key_count_at_most` does.

    Args:
        path: A file made by `key_files.write_keys`.
        keys: uint64[n]; sensitive.
    """
    return keys.size * KEYS_PER_READ <= max(key_count_at_most(path), KEYS_PER_READ)


def key_count_at_most(path: Path) -> int:
    """Returns an upper bound of the number of keys in a file, computed from its size; sensitive.

    Raises:
        DataError: The file is missing.
    """
    try:
        return path.stat().st_size // 8
    except FileNotFoundError:
        raise missing_file(path) from None


def _common(sorted_keys: Keys, wanted: Keys) -> Keys:
    """Returns those of `wanted` that are in `sorted_keys`."""
    if not sorted_keys.size or not wanted.size:
        return np.empty(0, np.uint64)
    if wanted[-1] < sorted_keys[0] or wanted[0] > sorted_keys[-1]:
        return np.empty(0, np.uint64)
    positions = np.searchsorted(sorted_keys, wanted)
    np.minimum(positions, sorted_keys.size - 1, out=positions)
    found: Keys = wanted[sorted_keys[positions] == wanted]
    return found


def _pages(content: mmap.mmap, keys: Keys) -> list[tuple[Keys, Keys]] | None:
    """Returns the pages that may hold some of `keys`, each with those keys; None if the file has another layout."""
    page = single_page(content)
    if page is not None:
        return [(page, keys)]
    try:
        return list(_chosen_pages(content, keys))
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError):
        return None


def _chosen_pages(content: mmap.mmap, keys: Keys) -> Iterator[tuple[Keys, Keys]]:
    """Yields the page of each row group whose statistics allow some of `keys`, with those keys.

    A column chunk that this package wrote is one plain page: a header, then the keys, which end where the chunk ends.
    """
    footer_bytes = int.from_bytes(content[-8:-4], "little")
    footer = pq.read_metadata(pa.BufferReader(content[-8 - footer_bytes :]))
    for number in range(footer.num_row_groups):
        chunk = footer.row_group(number).column(0)
        low, high = chunk.statistics.min, chunk.statistics.max
        first = int(np.searchsorted(keys, np.uint64(low)))
        last = int(np.searchsorted(keys, np.uint64(high), side="right"))
        if first == last:
            continue
        found = plain_page(content, chunk.data_page_offset)
        if found is None or found.end != chunk.data_page_offset + chunk.total_compressed_size:
            raise ValueError
        page = np.frombuffer(content, np.uint64, found.count, found.start)
        if chunk.compression != "UNCOMPRESSED" or (int(page[0]), int(page[-1])) != (low, high):
            raise ValueError
        yield page, keys[first:last]
