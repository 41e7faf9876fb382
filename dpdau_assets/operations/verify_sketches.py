"""Whether a stored sketch or union holds a pseudonym that must be gone.

Belongs here: reading sketch files for that question. A user erased through a day inside a window may be live on a later
day of it, so a union may hold the pseudonym exactly when one of those days does. A sketch of a kind whose keys are not
stored as they are is searched as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.core.sketches.codec import IMPLEMENTATIONS, decode
from dpdau_assets.errors import DataError
from dpdau_assets.operations.erased_keys import ErasedKeys
from dpdau_assets.operations.lineage import ERASURE_REPLAY
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage.byte_search import KeySearch
from dpdau_assets.storage.erasures import Tombstones
from dpdau_assets.storage.files import read_keys, read_table
from dpdau_assets.storage.partitions import Partition

Keys = NDArray[np.uint64]
SKETCH_COLUMN = "sketch"
MAGIC = b"DPDS"


def holds_erased_sketch(path: Path, digest: str, stones: ErasedKeys, *, day: date, epoch: int) -> bool:
    """Whether a day's sketch, which must be the recorded file, holds a pseudonym erased on that day.

    Raises:
        DataError: It is not the recorded file, or not a sketch.
    """
    table = read_table(path, digest=digest)
    if SKETCH_COLUMN not in table.column_names:
        raise DataError(f"{path} is not a sketch file")
    of_epoch = stones.of_epoch(epoch)
    erased = of_epoch.erased_on(day) if of_epoch else np.empty(0, np.uint64)
    return any(_holds(stored, erased) for stored in table.column(SKETCH_COLUMN).to_pylist() if stored is not None)


def holds_erased_union(
    workspace: Workspace, rows: Mapping[tuple[str, date], Partition], path: Path, digest: str, stones: ErasedKeys
) -> bool:
    """Whether a row of unions, whose file must be the recorded one, holds a pseudonym that is live on no day of its
    window and erased on some.

    Raises:
        DataError: It is not the recorded file, or not one of unions.
    """
    table = read_table(path, digest=digest)
    if not {"first_day", "last_day", "epoch", SKETCH_COLUMN} <= set(table.column_names):
        raise DataError(f"{path} is not a file of unions")
    for row in table.to_pylist():
        of_epoch, stored = stones.of_epoch(row["epoch"]), row[SKETCH_COLUMN]
        if stored is None or of_epoch is None:
            continue
        if _holds(stored, of_epoch.erased_on(row["last_day"])):
            return True
        left = _stones_among(stored, of_epoch.keys, of_epoch.through, first=row["first_day"])
        if left is not None and _is_never_live(workspace, rows, left, last=row["last_day"], epoch=row["epoch"]):
            return True
    return False


def _holds(stored: bytes, erased: Keys) -> bool:
    """Whether a stored sketch holds one of `erased`."""
    if not erased.size:
        return False
    keys = _stored_keys(stored)
    if keys is None:
        return KeySearch(erased).is_in_bytes(stored)
    return bool(np.isin(erased, keys, assume_unique=True).any())


def _stored_keys(stored: bytes) -> Keys | None:
    """The keys of a sketch that stores them as they are; None for another kind."""
    names = {number: name for name, number in IMPLEMENTATIONS.items()}
    if stored[:4] != MAGIC or stored[5] not in names:
        return None
    return decode(stored, impl=names[stored[5]]).keys


def _stones_among(stored: bytes, keys: Keys, through: NDArray[np.datetime64], *, first: date) -> Tombstones | None:
    """The tombstones of keys in a stored sketch that erase a day from `first` on; None when there is none."""
    in_window = through >= np.datetime64(first, "D")
    present = _stored_keys(stored)
    if present is None or not in_window.any():
        return None
    found = in_window & np.isin(keys, present)
    return Tombstones(keys[found], through[found]) if found.any() else None


def _is_never_live(
    workspace: Workspace,
    rows: Mapping[tuple[str, date], Partition],
    stones: Tombstones,
    *,
    last: date,
    epoch: int,
) -> bool:
    """Whether one of these users, erased through a day before `last`, is live on no later day up to it.

    Raises:
        DataError: A file of live users is not the recorded one.
    """
    keys, through = stones.keys, stones.through
    for day in reversed(DayRange(through.min().item() + ONE_DAY, last).days()):
        live = rows.get((ERASURE_REPLAY, day))
        digest = live.files.get(str(epoch)) if live else None
        if digest is None:
            continue
        path = workspace.lake.partition_path(ERASURE_REPLAY, day, epoch=epoch)
        is_live = np.isin(keys, read_keys(path, digest=digest)) & (through < np.datetime64(day, "D"))
        keys, through = keys[~is_live], through[~is_live]
        if not keys.size:
            return False
    return True
