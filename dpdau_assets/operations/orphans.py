"""Key-level files that no ledger row names: found and removed.

Belongs here: the comparison of folders with the ledger. A crash or a power cut may leave such files behind; nothing
reads them, but they may hold somebody who is erased. Temporary files belong to `Lake.sweep_temporary`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dpdau_assets.operations.lineage import ASSETS, DAILY_SKETCHES
from dpdau_assets.operations.publication import partition_files
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage import batches, partitions
from dpdau_assets.storage.files import remove


def remove_orphans(workspace: Workspace) -> int:
    """Removes files of the lake and of staging that no row names, and empty folders; how many files they were.

    Hold the lake lock.

    Raises:
        StorageError: A file cannot be removed.
    """
    lake = workspace.lake
    with workspace.ledger.read() as connection:
        rows = partitions.load(connection, ASSETS)
        staged = batches.staged_between(connection)
    named = {lake.staging_path(file.day, batch=file.batch, epoch=file.epoch) for file in staged}
    for row in rows.values():
        if row.asset != DAILY_SKETCHES or workspace.settings.sketch_impl != "set":
            named.update(partition_files(lake, row.asset, row.day, row.files))
    orphans = [path for path in _key_files(lake.root) if path not in named]
    remove(orphans)
    for folder in (lake.root / "staging").glob("day=*"):
        with suppress(OSError):  # one that is not empty stays
            folder.rmdir()
    return len(orphans)


def _key_files(root: Path) -> list[Path]:
    """Every file in its place below staging/ and below the folders of the assets."""
    folders = [root / "staging", *(root / "lake" / asset for asset in ASSETS)]
    return [path for folder in folders for path in folder.glob("day=*/*.parquet")]
