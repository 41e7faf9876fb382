"""Whether a stored sketch or union holds a pseudonym that must be gone.

Belongs here: reading sketch files for that question. A user erased through a day inside a window may be live on a later
day of it, so a union may hold the pseudonym exactly when one of those days does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.core.sketches.apache import read_compact
from dpdau_assets.core.sketches.codec import IMPLEMENTATIONS, decode, unseal
from dpdau_assets.core.sketches.murmur import theta_hashes
from dpdau_assets.errors import DataError
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.key_files import read_keys, read_table
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY
from dpdau_assets.storage.ledger.erasures import Tombstones
from dpdau_assets.storage.ledger.partitions import Partition

Keys = NDArray[np.uint64]
SKETCH_COLUMN = "sketch"
MAGIC = b"DPDS"
SEALED_KIND = -35
"""Where a sealed sketch tells its kind, from its end."""


def holds_erased_sketch(path: Path, digest: str, tombstones: ErasedKeys, *, day: date, epoch: int) -> bool:
    """Whether a day's sketch, which must be the recorded file, holds a pseudonym erased on that day.

    Raises:
        DataError: It is not the recorded file, or not a sketch.
    """
    table = read_table(path, digest=digest)
    if SKETCH_COLUMN not in table.column_names:
        raise DataError(f"{path} is not a sketch file")
    of_epoch = tombstones.of_epoch(epoch)
    erased = of_epoch.erased_on(day) if of_epoch else np.empty(0, np.uint64)
    sketches = [stored for stored in table.column(SKETCH_COLUMN).to_pylist() if stored is not None]
    return any(bool(Content.of(stored).has(erased).any()) for stored in sketches)


def holds_erased_rows(path: Path, tombstones: ErasedKeys) -> bool:
    """Whether a row of unions holds a pseudonym erased on every day of its window.

    Raises:
        DataError: It is not a file of unions.
    """
    for row in read_table(path).to_pylist():
        of_epoch = tombstones.of_epoch(row["epoch"])
        erased = of_epoch.erased_on(row["last_day"]) if of_epoch else np.empty(0, np.uint64)
        if row[SKETCH_COLUMN] is not None and Content.of(row[SKETCH_COLUMN]).has(erased).any():
            return True
    return False


class LiveErased:
    """Which users that are erased through some day are live on others: each file of live users is read once.

    Args:
        workspace: The open data folder.
        rows: The partitions by (asset, day).
        tombstones: What is erased (sensitive).
    """

    def __init__(
        self, workspace: Workspace, rows: Mapping[tuple[str, date], Partition], tombstones: ErasedKeys
    ) -> None:
        self._workspace = workspace
        self._rows = rows
        self.tombstones = tombstones
        self._known: dict[tuple[date, int], Keys] = {}

    def on(self, day: date, *, epoch: int) -> Keys:
        """The erased users of an epoch that are live on `day`; sensitive.

        Raises:
            DataError: The file of live users is not the recorded one.
        """
        if (day, epoch) not in self._known:
            row, of_epoch = self._rows.get((ERASURE_REPLAY, day)), self.tombstones.of_epoch(epoch)
            digest = row.files.get(str(epoch)) if row else None
            found = np.empty(0, np.uint64)
            if digest is not None and of_epoch is not None:
                path = self._workspace.lake.partition_path(ERASURE_REPLAY, day, epoch=epoch)
                found = of_epoch.keys[_is_among(of_epoch.keys, read_keys(path, digest=digest))]
            self._known[day, epoch] = found
        return self._known[day, epoch]


def holds_erased_union(path: Path, digest: str, live: LiveErased) -> bool:
    """Whether a row of unions, whose file must be the recorded one, holds a pseudonym that is live on no day of its
    window and erased on some.

    Raises:
        DataError: It is not the recorded file, or not one of unions.
    """
    table = read_table(path, digest=digest)
    if not {"first_day", "last_day", "epoch", SKETCH_COLUMN} <= set(table.column_names):
        raise DataError(f"{path} is not a file of unions")
    for row in table.to_pylist():
        of_epoch, stored = live.tombstones.of_epoch(row["epoch"]), row[SKETCH_COLUMN]
        if stored is None or of_epoch is None:
            continue
        in_window = of_epoch.through >= np.datetime64(row["first_day"], "D")
        tombstones = Tombstones(of_epoch.keys[in_window], of_epoch.through[in_window])
        if _is_never_live(tombstones, Content.of(stored), live, last=row["last_day"], epoch=row["epoch"]):
            return True
    return False


def _is_never_live(tombstones: Tombstones, content: Content, live: LiveErased, *, last: date, epoch: int) -> bool:
    """Whether one of the tombstones in a sketch is live on no day after it up to `last`."""
    present = content.has(tombstones.keys)
    left, through = tombstones.keys[present], tombstones.through[present]
    if not left.size:
        return False
    for day in reversed(DayRange(min(through.min().item() + ONE_DAY, last), last).days()):
        is_live = _is_among(left, live.on(day, epoch=epoch)) & (through < np.datetime64(day, "D"))
        left, through = left[~is_live], through[~is_live]
        if not left.size:
            return False
    return True


@dataclass(frozen=True, slots=True, repr=False)
class Content:
    """What a stored sketch holds of each user (sensitive; prints as nothing).

    Attributes:
        words: Sorted; the pseudonyms themselves, or what the sketch makes of each.
        spell: What the sketch makes of pseudonyms.
    """

    words: Keys
    spell: Callable[[Keys], Keys]

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """For each of `keys` whether the sketch holds it."""
        return _is_among(self.spell(keys), self.words)

    @classmethod
    def of(cls, stored: bytes) -> Content:
        """The content of a stored sketch. Registers of hll are shared by many users and hold none.

        Raises:
            DataError: The sketch is damaged.
        """
        names = {number: name for name, number in IMPLEMENTATIONS.items()}
        if stored[:4] == MAGIC and names.get(stored[5]) in ("set", "kmv"):
            return cls(decode(stored, impl=names[stored[5]]).keys, lambda keys: keys)
        if names.get(stored[SEALED_KIND]) == "theta":
            return cls(read_compact(unseal(stored, impl="theta")).hashes, theta_hashes)
        unseal(stored, impl="hll")
        return cls(np.empty(0, np.uint64), lambda keys: keys)


def _is_among(keys: Keys, among: Keys) -> NDArray[np.bool_]:
    """For each of `keys` whether it is in `among`, which is sorted."""
    if not among.size:
        return np.zeros(keys.size, np.bool_)
    positions = np.minimum(np.searchsorted(among, keys), among.size - 1)
    found: NDArray[np.bool_] = among[positions] == keys
    return found
