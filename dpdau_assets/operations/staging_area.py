"""Key files of one source before they are staged: written aside while it is read, put in place together.

Belongs here: the temporary files between reading a source and recording its batch. Does not belong here: reading
(`engines`), the order of steps (`stage`). Only pseudonyms come here, so a disk may hold them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.engines.protocol import DayKeys, Keys
from dpdau_assets.operations.erased_keys import ErasedKeys
from dpdau_assets.storage.files import key_bytes, read_keys, write_new
from dpdau_assets.storage.lake import Lake
from dpdau_assets.storage.write_batch import WriteBatch

WRITE_THREADS = 2
MOST_WAITING = 8
"""Days whose keys may wait in memory for the disk."""

StagedRow = tuple[date, int, str]
"""Day, epoch, digest of the file."""


class StagingArea:
    """The key files of one source, by day and epoch; several for one where the source was read in parts."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self._folder = folder
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()
        self._parts: dict[tuple[date, int], list[tuple[Path, str]]] = {}
        self._written = 0

    def add(self, activity: DayKeys) -> None:
        """Takes the keys of a day and epoch; they are written while the caller goes on."""
        self._written += 1
        path = self._folder / f"{self._written}.parquet"
        parts = self._parts.setdefault((activity.day, activity.epoch), [])
        self._waiting.append(self._pool.submit(_write, path, activity.keys, parts))
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popleft().result()

    def finish(self) -> None:
        """Returns when everything is written.

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

    def put(self, files: WriteBatch, lake: Lake, *, batch: str, erased: tuple[ErasedKeys, ...]) -> list[StagedRow]:
        """Puts the files in waiting for their places in staging, without erased keys.

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
            if len(parts) == 1 and not any(stones.concerns(day, epoch=epoch) for stones in erased):
                part, digest = parts[0]
                files.link(part, place)
                rows.append((day, epoch, digest))
                continue
            keys = np.unique(np.concatenate([read_keys(path, digest=digest) for path, digest in parts]))
            for stones in erased:
                keys = stones.without(keys, day=day, epoch=epoch)
            if keys.size:
                rows.append((day, epoch, files.write_keys(place, keys)))
        return rows


@contextmanager
def staging_area(lake: Lake) -> Iterator[StagingArea]:
    """An area whose files go at the end of the block, or at the next sweep when the process was killed."""
    with lake.temporary_folder("stage") as folder, ThreadPoolExecutor(WRITE_THREADS) as pool:
        yield StagingArea(folder, pool)


def _write(path: Path, keys: Keys, parts: list[tuple[Path, str]]) -> None:
    parts.append((path, write_new(path, key_bytes(keys))))
