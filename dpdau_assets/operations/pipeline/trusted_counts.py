"""Exact counts for the trusted side: NOT private, never to be published.

Belongs here: DAU, WAU and MAU straight from the live users, whatever SKETCH_IMPL says, without sketches or unions.
Released values belong to `publish_release`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.windows import Window, window_of
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date_in_session
from dpdau_assets.operations.pipeline.exact_counts import count_windows
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.parquet_bytes import Keys
from dpdau_assets.storage.ledger import frozen_windows


def count_trusted(
    workspace: Workspace, start: date, end: date, *, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Exact distinct live users of each day from `start` to `end`, and of the windows that end on it.

    Days still open are counted as far as they are staged. Windows count what exists of them.

    Args:
        workspace: The open data folder.
        start: First day.
        end: Last day.
        progress: Shows how far it is.

    Returns:
        One `{"day", "dau", "wau", "mau"}` per day, the day as ISO text. Sensitive. A window that holds a day that
        retention dropped has the count that was kept of it, None where none was exact.

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    days = DayRange(start, end)
    mau_window_days = workspace.settings.mau_window_days
    windows = {
        (metric, day): window_of(metric, day, mau_window_days=mau_window_days) for metric in METRICS for day in days
    }
    with lake_session(workspace, days_behind_windows(days, mau_window_days)) as session:
        bring_up_to_date_in_session(session, days, through="live_users", progress=progress)
        live = _LiveKeys(session)
        whole = [window for window in windows.values() if not session.is_frozen(window.first)]
        counts: dict[Window, int | None] = {**_kept(session, windows.values())}
        counts.update(count_windows(whole, calendar=workspace.salts.calendar, files=live.files, read=live.read))
    return [{"day": day.isoformat()} | {metric: counts[windows[metric, day]] for metric in METRICS} for day in days]


def _kept(session: LakeSession, windows: Collection[Window]) -> dict[Window, int | None]:
    """The exact counts that were kept of frozen windows."""
    with session.workspace.ledger.read() as connection:
        kept = frozen_windows.load(
            connection, min(window.last for window in windows), max(window.last for window in windows)
        )
    found = {window: kept.get((window.last, len(window))) for window in windows if session.is_frozen(window.first)}
    return {window: one.users if one is not None and one.is_exact else None for window, one in found.items()}


class _LiveKeys:
    """The key files of a session: live users, and what is staged of days that are still open."""

    def __init__(self, session: LakeSession) -> None:
        self._session = session
        self._staged: dict[tuple[date, int], dict[Path, str]] = {}
        for day, files in session.staged.items():
            for file in files:
                self._staged.setdefault((day, file.epoch), {})[session.staged_path(file)] = file.digest

    def files(self, day: date, epoch: int) -> list[Path]:
        return [*self._staged.get((day, epoch), {}), *self._session.live_files(day, epoch)]

    def read(self, day: date, epoch: int, path: Path) -> Keys:
        digest = self._staged.get((day, epoch), {}).get(path)
        if digest is None:
            return self._session.read_live(day, epoch, path)
        keys = self._session.read(path, digest)
        return np.ascontiguousarray(self._session.erased.without(keys, day=day, epoch=epoch))
