"""Counts after an erasure, from the counts before it: less the removed users whom nothing keeps in the window.

Belongs here: by how many users the removals of a session change the exact count of a window. Counting from all keys
belongs to `exact_counts`; which stored counts may be continued so, to `mau_unions`.

A removed user leaves the count of a window when they were live on one of its days and are live on none any more. Both
are seen from the removed users alone: the distinct removed users of the window before, less those of them that it still
holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np

from dpdau_assets.core.windows import Window
from dpdau_assets.operations.pipeline.exact_counts import count_windows
from dpdau_assets.operations.session.session import LakeSession
from dpdau_assets.storage.lake.key_search import found_keys, is_worth_searching, key_count_at_most
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY
from dpdau_assets.storage.lake.parquet_bytes import Keys
from dpdau_assets.storage.ledger.erasures import Tombstones


def is_small(session: LakeSession) -> bool:
    """Whether fewer keys were removed than are left, so that counting them is less work; no if none was."""
    removed = sum(removal.keys.size for removal in session.removals.values())
    left = 0
    for day in session.known_days(ERASURE_REPLAY, session.days) if removed else ():
        for name in session.files(ERASURE_REPLAY, day):
            left += sum(key_count_at_most(path) for path in session.live_files(day, int(name)))
        if left > removed:
            return True
    return False


def left_per_window(session: LakeSession, windows: Iterable[Window]) -> dict[Window, int]:
    """How many users left each window by what the session removed (sensitive).

    Args:
        session: Its live users are up to date.
        windows: Windows of at most 64 days.

    Raises:
        DataError: A file is missing or not the recorded one.
    """
    chosen = list(windows)
    if not chosen:
        return {}
    kept, calendar = _Kept(session), session.workspace.salts.calendar

    def days_with(day: date, epoch: int) -> list[Path]:
        return [Path()] if (day, epoch) in session.removals or kept.of(day, epoch).size else []

    def before(day: date, epoch: int, _path: Path) -> Keys:
        removal, still = session.removals.get((day, epoch)), kept.of(day, epoch)
        return still if removal is None else np.union1d(removal.keys, still) if still.size else removal.keys

    def after(day: date, epoch: int, _path: Path) -> Keys:
        return kept.of(day, epoch)

    had = count_windows(chosen, calendar=calendar, files=days_with, read=before)
    have = count_windows(chosen, calendar=calendar, files=days_with, read=after)
    return {window: had[window] - have[window] for window in chosen}


class _Kept:
    """Which of the users that were removed from some day another day still holds."""

    def __init__(self, session: LakeSession) -> None:
        self._session = session
        self._known: dict[tuple[date, int], Keys] = {}
        by_epoch: dict[int, list[Keys]] = {}
        for (_, epoch), removal in session.removals.items():
            by_epoch.setdefault(epoch, []).append(removal.keys)
        self._removed = {epoch: self._removed_in_part(epoch, parts) for epoch, parts in by_epoch.items()}

    def _removed_in_part(self, epoch: int, parts: list[Keys]) -> Tombstones:
        """The tombstones of the users removed from a day of the epoch that leave them some later day of the session."""
        tombstones = self._session.erased.of_epoch(epoch)
        if tombstones is None:
            return Tombstones(np.empty(0, np.uint64), np.empty(0, "datetime64[D]"))
        is_in_part = tombstones.through < np.datetime64(self._session.days.last, "D")
        keys, through = tombstones.keys[is_in_part], tombstones.through[is_in_part]
        if keys.size:
            is_removed = np.isin(keys, np.concatenate(parts), kind="sort")
            keys, through = keys[is_removed], through[is_removed]
        return Tombstones(keys, through)

    def of(self, day: date, epoch: int) -> Keys:
        """uint64[n], sorted: users removed from another day who are live on `day`."""
        if (day, epoch) not in self._known:
            self._known[day, epoch] = self._find(day, epoch)
        return self._known[day, epoch]

    def _find(self, day: date, epoch: int) -> Keys:
        tombstones = self._removed.get(epoch)
        possible = np.empty(0, np.uint64)
        if tombstones is not None:  # on a day that is erased for them nobody has them
            possible = tombstones.keys[tombstones.through < np.datetime64(day, "D")]
        if possible.size:
            for path in self._session.live_files(day, epoch):
                if is_worth_searching(path, possible):
                    return found_keys(path, possible)
                return np.intersect1d(self._session.read_live(day, epoch, path), possible, assume_unique=True)
        return possible[:0]
