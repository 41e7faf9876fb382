"""Key-level files that no ledger row names: found and removed.

Belongs here: the comparison of folders with the ledger. A crash or a power cut may leave such files behind; nothing
reads them, but they may hold somebody who is erased. Temporary files belong to `Lake.sweep_temporary`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import remove
from dpdau_assets.storage.lake.layout import (
    ASSETS,
    DAILY_SKETCHES,
    DAY_MARK,
    KEYS_SUFFIX,
    LAKE,
    STAGING,
    day_name,
    partition_name,
    staged_name,
)
from dpdau_assets.storage.ledger import batches, partitions

FOLDER_THREADS = 8
"""Most of removing a folder is waiting for the disk."""


def remove_orphans(workspace: Workspace) -> int:
    """Removes files of the lake and of staging that no row names, and empty folders; how many files they were.

    Hold the lake lock.

    Raises:
        StorageError: A file cannot be removed.
    """
    root = workspace.lake.root
    with workspace.ledger.read() as connection:
        named = partitions.names_of_files(connection)
        staged = batches.staged_between(connection)
    place = f"{root}/{STAGING}"
    known = {f"{place}/{day_name(file.day)}/{staged_name(file.batch, file.epoch)}" for file in staged}
    is_reference = workspace.settings.sketch_impl == "set"  # daily sketches are live users then, and have no files
    for asset, day, name in named:
        if asset != DAILY_SKETCHES or not is_reference:
            known.add(f"{root}/{LAKE}/{asset}/{DAY_MARK}{day}/{partition_name(asset, name)}")
    orphans = [Path(path) for path in _key_files(str(root)) if path not in known]
    remove(orphans)
    folders = {f"{place}/{day}" for day in _entries(place)} | {str(one.parent) for one in orphans}
    with ThreadPoolExecutor(FOLDER_THREADS) as pool:
        list(pool.map(_remove_empty, folders))
    return len(orphans)


def _remove_empty(folder: str) -> None:
    with suppress(OSError):  # one that is not empty stays
        os.rmdir(folder)  # noqa: PTH106 - see `_entries`


def _key_files(root: str) -> Iterator[str]:
    """Every file in its place below staging/ and below the folders of the assets."""
    for folder in [f"{root}/{STAGING}", *(f"{root}/{LAKE}/{asset}" for asset in ASSETS)]:
        for day in _entries(folder):
            if day.startswith(DAY_MARK):
                yield from (
                    f"{folder}/{day}/{name}" for name in _entries(f"{folder}/{day}") if name.endswith(KEYS_SUFFIX)
                )


def _entries(folder: str) -> list[str]:
    """The names in a folder; none when it is not there or no folder."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - a path object for each of thousands of names costs more than the call
    except (FileNotFoundError, NotADirectoryError):
        return []
