"""Whether a file of any format holds one of some pseudonyms.

Belongs here: choosing how a file is read: raw bytes always, and the decoded columns of Parquet. Does not belong here:
which files (`other_places`), the search itself (`storage.byte_search`).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.storage.disk.os_errors import storage_errors
from dpdau_assets.storage.scan.byte_search import CHUNK_BYTES, KeySearch

PARQUET_MAGIC = b"PAR1"
SQLITE_MAGIC = b"SQLite format 3\x00"


def holds_any(search: KeySearch, path: Path) -> bool:
    """Whether a pseudonym occurs in the file at `path`, or in what its Parquet columns hold.

    The file must not be a database that this process has open through SQLite: closing it would drop SQLite's locks.

    Args:
        search: What is looked for.
        path: A file; one that is gone holds nothing.

    Raises:
        StorageError: It cannot be read.
    """
    if not search:
        return False
    with storage_errors(path, "read"):
        try:
            with path.open("rb") as stream:
                start = stream.read(16)
                stream.seek(0)
                is_sqlite = start == SQLITE_MAGIC or path.name.endswith("-wal")
                if search.is_in_stream(iter(lambda: stream.read(CHUNK_BYTES), b""), is_sqlite=is_sqlite):
                    return True
        except (FileNotFoundError, IsADirectoryError):
            return False
    return start[:4] == PARQUET_MAGIC and _is_in_columns(search, path)


def _is_in_columns(search: KeySearch, path: Path) -> bool:
    """Whether a pseudonym is in the decoded columns of a Parquet file; bytes that only look like one hold nothing."""
    try:
        with pq.ParquetFile(path) as file:
            return any(
                buffer is not None and search.is_in_bytes(buffer.to_pybytes())
                for batch in file.iter_batches()
                for column in batch.columns
                for buffer in column.buffers()
            )
    except (pa.ArrowException, OSError):
        return False
