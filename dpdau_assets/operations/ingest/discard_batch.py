"""Taking back a batch that is not folded yet, as if its source had never been ingested.

Erasures that came with it stay: a person's wish to be forgotten is not taken back by correcting a file.
"""

from __future__ import annotations

from contextlib import suppress

from dpdau_assets.errors import InputError
from dpdau_assets.operations.session.publication import recover
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import remove
from dpdau_assets.storage.ledger import batches


def discard_batch(workspace: Workspace, batch: str) -> int:
    """Removes a batch with its staged files; how many days it had. The same source may be ingested again.

    Args:
        workspace: The open data folder.
        batch: Name of the batch, 32 hex characters.

    Raises:
        InputError: There is no such batch, or a day of it is part of raw_events already.
        StorageError: Disk, lock or ledger refused.
    """
    lake = workspace.lake
    with lake.lock():
        recover(workspace)
        with workspace.ledger.write() as connection:
            found = batches.find(connection, batch)
            if found is None:
                raise InputError("there is no such batch", hint="`dpdau status --json` names the batches")
            if found.is_folded:
                raise InputError(
                    "the batch is folded: its activity is part of the days it touches",
                    hint="erase the users concerned, or start a new DATA_DIR",
                )
            files = batches.staged_of(connection, found.seq)
            batches.discard(connection, found.seq)
        paths = [lake.staging_path(file.day, batch=file.batch, epoch=file.epoch) for file in files]
        remove([*paths, lake.quarantine_path(batch)])
        for folder in {path.parent for path in paths}:
            with suppress(OSError):
                folder.rmdir()
    return len({file.day for file in files})
