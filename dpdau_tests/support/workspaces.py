"""Data folders for tests: opened with chosen settings and a fixed clock, filled without a source file."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.operations.erase.tombstones import erasure_filter_of
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import batches, erasures, partitions

LONG_AFTER = datetime(2031, 1, 1, 12, tzinfo=UTC)
"""A time at which every day of the tests is closed."""

Event = tuple[str, date]


def new_workspace(folder: Path, *, now: datetime = LONG_AFTER, **settings: Any) -> Workspace:
    """A data folder with a fixed clock, secret and settings: equal content gives equal bytes in two of them."""
    chosen = {"hash_salt_secret": "a secret of the tests", **settings}
    return open_workspace(Settings(data_dir=folder, **chosen), clock=lambda: now)


def copy_of(workspace: Workspace, folder: Path) -> Workspace:
    """A data folder with the same content, settings and clock; nobody may be writing to the original."""
    workspace.close()
    shutil.copytree(workspace.lake.root, folder)
    settings = workspace.settings.model_copy(update={"data_dir": folder})
    return open_workspace(settings.__class__(**settings.model_dump()), clock=workspace.clock)


def stage_activity(workspace: Workspace, events: Iterable[Event]) -> str:
    """Stages events as one batch, as `stage` does it: pseudonymised under every epoch, without erased users."""
    batch = secrets.token_hex(16)
    users_of_day: dict[date, set[bytes]] = {}
    for user, day in events:
        users_of_day.setdefault(day, set()).add(user.encode())
    files = []
    with workspace.lake.lock(), workspace.lake.write_batch() as files_batch:
        with workspace.ledger.read() as connection:
            erased = ErasedKeys.read(connection, erasures.epochs(connection), only_pending=False)
            old = erasure_filter_of(workspace, connection)
        for day, users in sorted(users_of_day.items()):
            for epoch in workspace.salts.calendar.keyed_epochs(day, workspace.settings.mau_window_days):
                admitted = sorted(users)
                if old is not None and epoch < old.epoch:  # the ingest erasure filter, as when a source is read
                    through = old.erased_through(user_keys(workspace.salts.epoch_key(old.epoch), admitted))
                    gone = through >= (day - EARLIEST_DAY).days
                    admitted = [user for user, is_gone in zip(admitted, gone, strict=True) if not is_gone]
                keys = np.unique(user_keys(workspace.salts.epoch_key(epoch), admitted))
                keys = erased.without(keys, day=day, epoch=epoch)
                if keys.size:
                    path = workspace.lake.staging_path(day, batch=batch, epoch=epoch)
                    files.append((day, epoch, files_batch.write_keys(path, keys)))
        files_batch.publish()
        with workspace.ledger.write() as connection:
            workspace.freeze(connection)
            batches.record(
                connection,
                batch,
                source_format="jsonl",
                events=sum(map(len, users_of_day.values())),
                accepted=sum(map(len, users_of_day.values())),
                rejected={},
                erasures=0,
                files=files,
                now=workspace.clock(),
            )
    return batch


def digests(workspace: Workspace, *assets: str) -> dict[tuple[str, date], str]:
    """The digest of every partition that has files."""
    names = assets or ("raw_events", "erasure_replay", "daily_sketches", "mau_unions")
    with workspace.ledger.read() as connection:
        return {key: row.digest for key, row in partitions.load(connection, names).items() if row.files}


def key_files(workspace: Workspace) -> dict[str, bytes]:
    """The bytes of every Parquet file below the data folder, by relative path."""
    root = workspace.lake.root
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.parquet"))}


def files_holding(workspace: Workspace, user: str, *, first: date, last: date) -> list[str]:
    """Files below the data folder, the ledger aside, with a pseudonym of `user` under an epoch of those days."""
    calendar, window = workspace.salts.calendar, workspace.settings.mau_window_days
    epochs = {epoch for day in (first, last) for epoch in calendar.keyed_epochs(day, window)}
    epochs |= set(range(min(epochs), max(epochs) + 1))
    needles = [
        int(user_keys(workspace.salts.epoch_key(epoch), [user.encode()])[0]).to_bytes(8, order)
        for epoch in epochs
        for order in ("little", "big")
    ]
    root = workspace.lake.root
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.is_file() and "ledger" not in path.name and any(needle in path.read_bytes() for needle in needles)
    ]
