"""Writes several files that become visible together.

Belongs here: the sequence temporary file, fsync, rename for many files at once. Does not belong here: how a table
becomes bytes (`parquet_bytes`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from dpdau_assets.errors import DpdauError, InternalError
from dpdau_assets.storage.disk.durable import (
    link_or_copy_new,
    make_durable,
    make_names_durable,
    remove,
    replace,
    temporary_name,
    write_new,
)
from dpdau_assets.storage.disk.os_errors import make_folder
from dpdau_assets.storage.lake.parquet_bytes import Keys, key_bytes, table_bytes

MOVE_THREADS = 8


class WriteBatch:
    """Pending files that are moved to their final paths together, after all of them are durable.

    Use as a context manager. Nothing is visible before `publish`; leaving the block without it removes everything
    written. A crash inside `publish` leaves each file complete, either old or new.

    Args:
        scratch: Folder for the pending files, on the same file system as their final paths (see `Lake.write_batch`).
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._pending: dict[Path, Path] = {}

    def write_keys(self, path: Path, keys: Keys) -> str:
        """Writes the pending key file for `path`; returns its digest."""
        return self.write_bytes(path, key_bytes(keys))

    def write_table(self, path: Path, table: pa.Table) -> str:
        """Writes the pending table for `path`; returns its digest."""
        return self.write_bytes(path, table_bytes(table))

    def write_bytes(self, path: Path, content: bytes | pa.Buffer) -> str:
        """Writes `content` to the pending file for `path`; returns its digest."""
        return write_new(self._pending_file(path), content)

    def link(self, source: Path, path: Path) -> None:
        """Makes the pending file for `path` a hard link to `source`, or a copy of it."""
        link_or_copy_new(source, self._pending_file(path))

    def _pending_file(self, path: Path) -> Path:
        if path in self._pending:
            raise InternalError(f"{path} is written twice in one batch")
        pending = self._scratch / temporary_name(path)
        self._pending[path] = pending
        return pending

    def publish(self) -> None:
        """Makes all files durable, then moves them to their final paths, then makes the names durable.

        Raises:
            StorageError: A file cannot be written or moved; files not yet moved are removed.
        """
        make_durable(self._pending.values())
        folders = {path.parent for path in self._pending}
        for folder in folders:
            make_folder(folder)
        with ThreadPoolExecutor(MOVE_THREADS) as pool:  # moves mostly wait for the replaced file to be freed
            # a move does nothing if both are links of one file; `pending` is then removed with the scratch folder
            list(pool.map(replace, self._pending.values(), self._pending))
        make_names_durable(folders)
        self._pending.clear()

    def __enter__(self) -> WriteBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(DpdauError):
            remove(self._pending.values())
        self._pending.clear()
