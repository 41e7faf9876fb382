"""Several files that take their places together.

Belongs here: the order temporary file, fsync, rename for many files at once. The bytes are `files`' matter.
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
    """Files written aside that take their places together: durable first, visible second.

    Use as a context manager. Nothing is visible before `publish`; leaving the block without it removes everything
    written. A crash inside `publish` leaves each file either old or new, whole.

    Args:
        scratch: Folder for the files in waiting, on the same file system as their places (see `Lake.write_batch`).
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._waiting: dict[Path, Path] = {}

    def write_keys(self, path: Path, keys: Keys) -> str:
        """Puts a key file in waiting for `path`; returns its digest."""
        return self.write_bytes(path, key_bytes(keys))

    def write_table(self, path: Path, table: pa.Table) -> str:
        """Puts a table in waiting for `path`; returns its digest."""
        return self.write_bytes(path, table_bytes(table))

    def write_bytes(self, path: Path, content: bytes | pa.Buffer) -> str:
        """Puts `content` in waiting for `path`; returns its digest."""
        return write_new(self._wait_for(path), content)

    def link(self, source: Path, path: Path) -> None:
        """Puts a hard link (or copy) of `source` in waiting for `path`."""
        link_or_copy_new(source, self._wait_for(path))

    def _wait_for(self, path: Path) -> Path:
        if path in self._waiting:
            raise InternalError(f"{path} is written twice in one batch")
        waiting = self._scratch / temporary_name(path)
        self._waiting[path] = waiting
        return waiting

    def publish(self) -> None:
        """Makes all files durable, then moves them to their places, then makes the names durable.

        Raises:
            StorageError: The disk refused; files not yet moved are removed.
        """
        make_durable(self._waiting.values())
        folders = {path.parent for path in self._waiting}
        for folder in folders:
            make_folder(folder)
        with ThreadPoolExecutor(MOVE_THREADS) as pool:  # most of a move is waiting for the replaced file to be freed
            # a move does nothing where both are links of one file: then `waiting` goes with scratch
            list(pool.map(replace, self._waiting.values(), self._waiting))
        make_names_durable(folders)
        self._waiting.clear()

    def __enter__(self) -> WriteBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(DpdauError):
            remove(self._waiting.values())
        self._waiting.clear()
