"""Erased pseudonyms as one operation sees them: read once, at its snapshot, and asked by epoch and day.

Which tombstones exist belongs to storage/ledger/erasures; which files are rewritten, to `erasure_replay`. Everything
here is sensitive and prints as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import Tombstones

Keys = NDArray[np.uint64]


class ErasedKeys:
    """The tombstones of some epochs.

    Args:
        tombstones: By epoch; sensitive.
    """

    def __init__(self, tombstones: Mapping[int, Tombstones]) -> None:
        self._by_epoch = {epoch: of_epoch for epoch, of_epoch in tombstones.items() if len(of_epoch)}

    @classmethod
    def read(cls, connection: Connection, epochs: Iterable[int], *, only_pending: bool) -> ErasedKeys:
        """The tombstones of `epochs`, all from one state of the ledger.

        Completed ones are needed only where files are not known to be clean of them: staging drops them while it reads,
        and a request is complete only when no file holds them any more.

        Args:
            connection: A read transaction.
            epochs: Epochs of the files concerned.
            only_pending: Leaves out those whose request is complete.
        """
        if only_pending and not erasures.pending(connection):
            return cls({})
        return cls({epoch: erasures.tombstones(connection, epoch, only_pending=only_pending) for epoch in epochs})

    def __repr__(self) -> str:
        return "ErasedKeys(...)"

    def __bool__(self) -> bool:
        return bool(self._by_epoch)

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that have tombstones here."""
        return tuple(sorted(self._by_epoch))

    def of_epoch(self, epoch: int) -> Tombstones | None:
        """The tombstones of `epoch`, None when it has none."""
        return self._by_epoch.get(epoch)

    def last_day(self) -> date:
        """The last day that any of them erases; 1970-01-01 or earlier when there is none."""
        last = max((tombstones.through.max() for tombstones in self._by_epoch.values()), default=np.datetime64(0, "D"))
        return date.fromisoformat(str(last))

    def has_any(self, keys: Keys, *, day: date, epoch: int) -> bool:
        """Whether one of `keys` is erased on `day`."""
        return self._positions(keys, day, epoch).size > 0

    def without(self, keys: Keys, *, day: date, epoch: int) -> Keys:
        """`keys` (sorted, unique) less those erased on `day`; the same object when none is."""
        positions = self._positions(keys, day, epoch)
        return np.delete(keys, positions) if positions.size else keys

    def split(self, keys: Keys, *, day: date, epoch: int) -> tuple[Keys, Keys]:
        """`keys` (sorted, unique) as those that stay on `day` and those erased on it."""
        positions = self._positions(keys, day, epoch)
        return (np.delete(keys, positions), keys[positions]) if positions.size else (keys, keys[:0])

    def concerns(self, day: date, *, epoch: int) -> bool:
        """Whether any tombstone of `epoch` erases `day`."""
        tombstones = self._by_epoch.get(epoch)
        return tombstones is not None and bool((tombstones.through >= np.datetime64(day, "D")).any())

    def erased_on(self, day: date, *, epoch: int) -> Keys:
        """The keys that tombstones of `epoch` erase on `day`: uint64[n], sorted; sensitive."""
        tombstones = self._by_epoch.get(epoch)
        return np.empty(0, np.uint64) if tombstones is None else tombstones.erased_on(day)

    def _positions(self, keys: Keys, day: date, epoch: int) -> NDArray[np.int64]:
        """Where in `keys` the keys erased on `day` are."""
        if keys.size == 0:
            return np.empty(0, np.int64)
        return _places(self.erased_on(day, epoch=epoch), keys)


def _places(wanted: Keys, keys: Keys) -> NDArray[np.int64]:
    """Where in `keys`, which has some, those of `wanted` are, ascending; both sorted; the fewer are looked up."""
    if wanted.size > keys.size:
        matches = np.minimum(np.searchsorted(wanted, keys), wanted.size - 1)
        return np.flatnonzero(wanted[matches] == keys)
    places = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    found: NDArray[np.int64] = places[keys[places] == wanted]
    return found
