"""Key files of one source before they are staged: written to temporary files while it is read, put in place together.

Belongs here: the temporary files between reading a source and recording its batch. Does not belong here: reading
(`engines`), the order of steps (`stage`). Only pseudonyms come here, so a disk may hold them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.engines.protocol import DayKeys, Keys
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.storage.disk.durable import write_new
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.parquet_bytes import key_bytes
from dpdau_assets.storage.lake.write_batch import WriteBatch

WRITE_THREADS = 2
MOST_WAITING = 8
"""Days whose keys may wait in memory for the disk."""
MOST_BYTES_IN_MEMORY = 32 << 20
"""Keys up to this many bytes in all are written once, at the end: many small days cost three system calls each."""

StagedRow = tuple[date, int, str]
"""Day, epoch, digest of the file."""
_Part = Future[tuple[Path, str]] | Keys
"""Keys in a temporary file, or still in memory."""


class StagingArea:
    """The keys of one source, by day and epoch; several parts for one where the source was read in parts."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._pool = pool
        self._parts: dict[tuple[date, int], list[_Part]] = {}
        self._waiting: deque[Future[tuple[Path, str]]] = deque()
        self._bytes_in_memory = 0
        self._written = 0

    def add(self, activity: DayKeys) -> None:
        """Takes the keys of a day and epoch; large ones are written while the caller goes on."""
        parts = self._parts.setdefault((activity.day, activity.epoch), [])
        if self._bytes_in_memory + activity.keys.nbytes <= MOST_BYTES_IN_MEMORY:
            self._bytes_in_memory += activity.keys.nbytes
            parts.append(activity.keys)
            return
        self._written += 1
        part = self._pool.submit(_write, self._folder / f"{self._written}.parquet", activity.keys)
        parts.append(part)
        self._waiting.append(part)
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Waits until everything large is written.

        Raises:
            StorageError: The disk refused.
        """
        while self._waiting:
            self._waiting.popleft().result()

    @property
    def first_days(self) -> dict[int, date]:
        """The first day of every epoch that has keys."""
        first: dict[int, date] = {}
        for day, epoch in self._parts:
            first[epoch] = min(day, first.get(epoch, day))
        return first

    def put(self, files: WriteBatch, lake: Lake, *, batch: str, erased: Sequence[ErasedKeys]) -> list[StagedRow]:
        """Adds the files to the write batch for their places in staging, without erased keys.

        Args:
            files: Takes the files.
            lake: Where the places are.
            batch: Name of the batch.
            erased: Tombstones that already hold.

        Returns:
            What the ledger records of each file, by day and epoch.
        """
        rows: list[StagedRow] = []
        for (day, epoch), parts in sorted(self._parts.items()):
            place = lake.staging_path(day, batch=batch, epoch=epoch)
            if len(parts) == 1 and not any(tombstones.concerns(day, epoch=epoch) for tombstones in erased):
                rows.append((day, epoch, _put_once(files, place, parts[0])))
                continue
            keys = np.unique(np.concatenate([_keys_of(part) for part in parts]))
            for tombstones in erased:
                keys = tombstones.without(keys, day=day, epoch=epoch)
            if keys.size:
                rows.append((day, epoch, files.write_keys(place, keys)))
        return rows


@contextmanager
def staging_area(lake: Lake) -> Iterator[StagingArea]:
    """An area whose files go at the end of the block, or at the next sweep when the process was killed."""
    with lake.temporary_folder("stage") as folder, ThreadPoolExecutor(WRITE_THREADS) as pool:
        yield StagingArea(folder, pool)


def _write(path: Path, keys: Keys) -> tuple[Path, str]:
    return path, write_new(path, key_bytes(keys))


def _put_once(files: WriteBatch, place: Path, part: _Part) -> str:
    """Adds one part to the write batch for `place` as it is; its digest."""
    if not isinstance(part, Future):
        return files.write_keys(place, part)
    path, digest = part.result()
    files.link(path, place)
    return digest


def _keys_of(part: _Part) -> Keys:
    if not isinstance(part, Future):
        return part
    path, digest = part.result()
    return read_keys(path, digest=digest)
