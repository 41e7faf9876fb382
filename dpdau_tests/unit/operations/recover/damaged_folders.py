"""The files of a small built data folder that tests damage, and the rows that the ledger has of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import batches, partitions

FIRST = date(2026, 5, 1)
DAYS = DayRange(FIRST, FIRST + timedelta(days=2))
MIDDLE = FIRST + timedelta(days=1)
LATER = FIRST + timedelta(days=3)


def file_of(workspace: Workspace, asset: str, day: date = MIDDLE) -> Path:
    """The first file of a partition."""
    return sorted(workspace.lake.partition_folder(asset, day).iterdir())[0]


def recorded(workspace: Workspace, asset: str = "raw_events") -> Mapping[date, Mapping[str, str]]:
    """The digests of the files of an asset that the ledger has, by day and epoch."""
    with workspace.ledger.read() as connection:
        rows = partitions.load(connection, [asset])
    return {day: row.files for (_, day), row in rows.items() if row.files}


def staged_digests(workspace: Workspace) -> set[tuple[date, int, str]]:
    """Day, epoch and digest of every staged file that the ledger has."""
    with workspace.ledger.read() as connection:
        return {(file.day, file.epoch, file.digest) for file in batches.staged_between(connection)}
