"""The counts that releases are made from: one state of everything, taken under one hold of the lake lock.

Belongs here: the snapshot. Noise, budget and what may be published belong to `publish_release`. Every number here
is exact or sketched without noise: it stays in memory and prints as nothing.

Reference: privacy model, section 1, snapshot (release cut).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date

from dpdau_assets.core.quantities import DayRange, Metric, window_days
from dpdau_assets.core.release.counts import Counts, StoredCount
from dpdau_assets.core.windows import window_of
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date_in_session
from dpdau_assets.operations.pipeline.daily_sketches import read_sketch
from dpdau_assets.operations.pipeline.mau_unions import read_unions
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import ReleaseSnapshot, Workspace
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY


def snapshot_counts(
    workspace: Workspace,
    days: Iterable[date],
    metrics: Sequence[Metric],
    *,
    progress: Progress = no_progress,
    on_wait: Callable[[str], None] | None = None,
) -> Counts:
    """Brings every day of every window up to date and counts, all at one snapshot.

    Guarantee: a function of the batches and erasures accepted before the lake lock was taken, as if everything were
    rebuilt from them: which partitions were built or pending before changes the time taken and nothing else.

    Args:
        workspace: The open data folder.
        days: Closed days to count (public).
        metrics: Metrics to count (public).
        progress: Shows how far it is.
        on_wait: Called once with one line when another process holds the lock.

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
        InternalError: A day is still open.
    """
    chosen = sorted(set(days))

    def take() -> Counts:
        return _up_to_date_counts(workspace, chosen, metrics, progress=progress, on_wait=on_wait)

    recorder = workspace.recorder
    return take() if recorder is None else recorder.counts(ReleaseSnapshot(workspace, chosen, metrics, take))


def _up_to_date_counts(
    workspace: Workspace,
    days: Sequence[date],
    metrics: Sequence[Metric],
    *,
    progress: Progress,
    on_wait: Callable[[str], None] | None,
) -> Counts:
    mau_window_days = workspace.settings.mau_window_days
    if not days:
        return Counts(workspace.settings.sketch_impl, {})
    ends = DayRange(days[0], days[-1])
    with lake_session(workspace, days_behind_windows(ends, mau_window_days), on_wait=on_wait) as session:
        if ends.last > session.last_closed:
            raise InternalError(f"{ends.last} is still open and cannot be counted for a release")
        for part in _parts(days, mau_window_days):
            bring_up_to_date_in_session(session, part, progress=progress)
        return count_partitions(session, days, metrics)


def count_partitions(session: LakeSession, days: Sequence[date], metrics: Sequence[Metric]) -> Counts:
    """The counts of days as their partitions stand, up to date or not; windows past retention have none (sensitive).

    Raises:
        DataError: A stored file is not the recorded one.
    """
    impl = session.workspace.settings.sketch_impl
    values: dict[tuple[Metric, date], StoredCount] = {}
    if impl == "set":
        session.check_partitions(ERASURE_REPLAY, days)
    for day in days:
        values.update(_counts_of(session, day, metrics))
    dropped = {(metric, day) for metric in metrics for day in days if (metric, day) not in values}
    return Counts(impl, values, dropped=dropped)


def _parts(days: Sequence[date], mau_window_days: int) -> list[DayRange]:
    """Ranges that hold `days`, joined where their windows overlap."""
    parts = [DayRange.single(days[0])]
    for day in days[1:]:
        if (day - parts[-1].last).days < mau_window_days:
            parts[-1] = DayRange(parts[-1].first, day)
        else:
            parts.append(DayRange.single(day))
    return parts


def _counts_of(session: LakeSession, day: date, metrics: Sequence[Metric]) -> dict[tuple[Metric, date], StoredCount]:
    """The count or sketch of each metric of one day; None for a window without users; frozen windows are left out."""
    settings = session.workspace.settings
    values: dict[tuple[Metric, date], StoredCount] = {}
    unions = read_unions(session, day) if any(metric != "dau" for metric in metrics) else {}
    for metric in metrics:
        if session.is_frozen(window_of(metric, day, mau_window_days=settings.mau_window_days).first):
            continue
        if metric == "dau":
            values[metric, day] = _of_day(session, day)
        else:
            union = unions.get(window_days(metric, settings.mau_window_days))
            values[metric, day] = None if union is None else union.users if union.sketch is None else union.sketch
    return values


def _of_day(session: LakeSession, day: date) -> StoredCount:
    """The count or sketch of one day, from files that are the recorded ones."""
    workspace = session.workspace
    if workspace.settings.sketch_impl != "set":
        return read_sketch(session, day, epoch=workspace.salts.calendar.epoch_of(day))
    return session.count_live(day)
