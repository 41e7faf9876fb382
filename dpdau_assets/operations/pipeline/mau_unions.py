"""Unions: the distinct users of the 7 and the N days that end on each day, one row per window.

Belongs here: mau_unions(D). Counting exactly belongs to `exact_counts`, merging sketches to core/sketches. For `set` a
row holds the count and no key; for the others the sketch of the window's union. A union is always made from its
days and never adjusted: a user erased on one day may be live on another day of the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import numpy as np
import pyarrow as pa

from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange, contiguous_ranges
from dpdau_assets.core.sketches.protocol import DistinctSketch
from dpdau_assets.core.sketches.rolling import union_per_window
from dpdau_assets.core.windows import Window
from dpdau_assets.operations.pipeline.count_differences import is_small, left_per_window
from dpdau_assets.operations.pipeline.daily_sketches import read_sketch, sketches_up_to_date
from dpdau_assets.operations.pipeline.exact_counts import count_windows
from dpdau_assets.operations.session.lineage import by_epoch, days_behind_windows, union_inputs, union_windows
from dpdau_assets.operations.session.pieces import in_threads
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.publication import Publication
from dpdau_assets.operations.session.removals import files_before
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_assets.storage.lake.columns import fixed_width, variable_width
from dpdau_assets.storage.lake.key_files import read_table
from dpdau_assets.storage.lake.layout import DAILY_SKETCHES, MAU_UNIONS, WINDOWS
from dpdau_assets.storage.lake.tables import UNION_SCHEMA
from dpdau_assets.storage.ledger.partitions import Partition

UNIONS_PER_PUBLICATION = {"set": 1024, "kmv": 64, "hll": 64, "theta": 64}
"""A count is small and its files are read once per piece; a sketch is up to a megabyte."""
WindowsByDay = Mapping[date, Sequence[tuple[Window, int]]]
"""For each last day its windows, each with the epoch that it is counted under."""
NO_OTHER_FILES: Mapping[date, Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True, repr=False)
class WindowUnion:
    """One row of mau_unions (sensitive; prints as nothing).

    Attributes:
        window: The days.
        epoch: The epoch it is counted under.
        users: Exact distinct users for `set`, None for the others.
        sketch: Sketch of the union, None for `set` and for a window without users.
    """

    window: Window
    epoch: int
    users: int | None
    sketch: DistinctSketch | None


def build_unions(workspace: Workspace, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Brings the windows that end on the closed days of `days`, and every day in them, up to date.

    Args:
        workspace: The open data folder.
        days: Last days of the windows.
        progress: Shows how far it is.

    Returns:
        Days whose unions changed (trusted side).

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    behind = days_behind_windows(days, workspace.settings.mau_window_days)
    with lake_session(workspace, behind) as session:
        return unions_up_to_date(session, days, progress=progress)


def unions_up_to_date(session: LakeSession, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Brings everything behind the windows of `days` and their unions up to date; the days whose unions changed."""
    sketches_up_to_date(
        session, days_behind_windows(days, session.workspace.settings.mau_window_days), progress=progress
    )
    return build_unions_in_session(session, session.closed(days), progress=progress)


def build_unions_in_session(
    session: LakeSession, days: Sequence[date], *, progress: Progress = no_progress
) -> set[date]:
    """Builds the unions of `days` that are not current with the sketches; the days that changed.

    Windows that hold a day that retention has dropped are left out: their counts are frozen in the ledger.
    """
    windows = {day: pairs for day in days if (pairs := _windows(session, day))}
    inputs = _inputs(session, windows)
    stale = [day for day in windows if not _is_current(session, day, inputs[day])]
    impl = session.workspace.settings.sketch_impl

    def add(new: Publication, chunk: list[date]) -> None:
        outdated = {day: windows[day] for day in chunk if _needs_files(session, day, inputs[day])}
        unions = _count(session, outdated) if impl == "set" else _merge(session, outdated)
        new.rows.extend(in_threads(partial(_row, session, new, unions=unions, inputs=inputs), chunk))

    size = UNIONS_PER_PUBLICATION[impl]
    return session.publish_days(MAU_UNIONS, stale, add, step="unions", progress=progress, size=size)


def read_unions(session: LakeSession, day: date) -> dict[int, WindowUnion]:
    """The unions of the windows that end on `day`, by window length; none when all its days are empty.

    Raises:
        DataError: The file is not the recorded one.
    """
    digest = session.files(MAU_UNIONS, day).get(WINDOWS)
    if digest is None:
        return {}
    table = read_table(session.workspace.lake.windows_path(day), digest=digest)
    plan = sketch_plan(session.workspace.settings)
    return {
        row["window_days"]: WindowUnion(
            Window(row["first_day"], row["last_day"]),
            row["epoch"],
            row["users"],
            plan.from_bytes(row["sketch"]) if row["sketch"] is not None else None,
        )
        for row in table.to_pylist()
    }


def _inputs(
    session: LakeSession, windows: WindowsByDay, *, before: Mapping[date, Mapping[str, str]] = NO_OTHER_FILES
) -> dict[date, str]:
    """The input digest of each day's unions: of the sketches now, or with other files of the days in `before`."""
    now = {day: row.files for (asset, day), row in session.partitions.items() if asset == DAILY_SKETCHES}
    files, plan = by_epoch({**now, **before}), sketch_plan(session.workspace.settings)
    return {day: union_inputs(pairs, files, plan=plan) for day, pairs in windows.items()}


def _windows(session: LakeSession, day: date) -> list[tuple[Window, int]]:
    calendar, mau_window_days = session.workspace.salts.calendar, session.workspace.settings.mau_window_days
    windows = union_windows(day, mau_window_days=mau_window_days, calendar=calendar)
    return [(window, epoch) for window, epoch in windows if not session.is_frozen(window.first)]


def _is_current(session: LakeSession, day: date, inputs: str) -> bool:
    row = session.partition(MAU_UNIONS, day)
    return row is not None and row.applied_erasure_seq >= session.erasure_seq and not _needs_files(session, day, inputs)


def _needs_files(session: LakeSession, day: date, inputs: str) -> bool:
    row = session.partition(MAU_UNIONS, day)
    return session.is_thorough or row is None or row.input_digest != inputs


def _row(
    session: LakeSession,
    new: Publication,
    day: date,
    *,
    unions: Mapping[date, Sequence[WindowUnion]],
    inputs: Mapping[date, str],
) -> Partition:
    """The new row of one partition, whose file waits; a day without `unions` keeps its files."""
    files = dict(session.files(MAU_UNIONS, day))
    if day in unions:
        files = {}
        if any(union.users or union.sketch is not None for union in unions[day]):
            impl = session.workspace.settings.sketch_impl
            path = session.workspace.lake.windows_path(day)
            files[WINDOWS] = new.files.write_table(path, _table(unions[day], impl=impl))
    return Partition(MAU_UNIONS, day, files, inputs[day], session.erasure_seq)


def _count(session: LakeSession, windows: WindowsByDay) -> Mapping[date, list[WindowUnion]]:
    """The exact unions of the windows that end on each day: continued from stored counts, or from the live users."""
    continued = _continued(session, windows)
    left = left_per_window(session, [window for day in continued for window, _ in windows[day]])
    counts = count_windows(
        (window for day, pairs in windows.items() if day not in continued for window, _ in pairs),
        calendar=session.workspace.salts.calendar,
        files=session.live_files,
        read=session.read_live,
    )
    stored = dict(zip(continued, in_threads(partial(_stored_counts, session), continued), strict=True))
    for day in continued:
        for window, _ in windows[day]:
            counts[window] = stored[day].get(len(window), 0) - left[window]
    return {
        day: [WindowUnion(window, epoch, counts[window], None) for window, epoch in pairs]
        for day, pairs in windows.items()
    }


def _stored_counts(session: LakeSession, day: date) -> dict[int, int]:
    """The stored exact count of each window that ends on `day`, by its length; sensitive. Errors as `read_unions`."""
    digest = session.files(MAU_UNIONS, day).get(WINDOWS)
    if digest is None:
        return {}
    path = session.workspace.lake.windows_path(day)
    lengths, users = read_table(path, digest=digest, columns=("window_days", "users")).columns
    return dict(zip(lengths.to_pylist(), users.to_pylist(), strict=True))


def _continued(session: LakeSession, windows: WindowsByDay) -> list[date]:
    """The days whose stored counts were made from the very files that the session removed users from.

    The recorded input digest proves it: it is that of the sketches now, with every removal of the session undone.
    """
    if session.is_thorough or not windows or not is_small(session):
        return []
    earlier = _inputs(
        session, windows, before=files_before(session.removals, lambda day: session.files(DAILY_SKETCHES, day))
    )
    rows = {day: session.partition(MAU_UNIONS, day) for day in windows}
    return [day for day, row in rows.items() if row is not None and row.input_digest == earlier[day]]


def _merge(session: LakeSession, chosen: WindowsByDay) -> Mapping[date, list[WindowUnion]]:
    """The united sketches of the windows that end on each day, from the daily sketches."""
    unions: dict[date, list[WindowUnion]] = {day: [] for day in chosen}
    groups: dict[tuple[int, int], list[Window]] = {}
    for pairs in chosen.values():
        for window, epoch in pairs:
            groups.setdefault((epoch, len(window)), []).append(window)
    sketches: dict[tuple[date, int], DistinctSketch | None] = {}
    for (epoch, length), windows in sorted(groups.items()):
        for ends in contiguous_ranges(window.last for window in windows):
            needed = {}
            for day in ends.widened(before=length - 1):
                if (day, epoch) not in sketches:
                    sketches[day, epoch] = read_sketch(session, day, epoch=epoch)
                sketch = sketches[day, epoch]
                if sketch is not None:
                    needed[day] = sketch
            merged = union_per_window(needed, ends=ends, window_days=length)
            for window in windows:
                if window.last in ends:
                    unions[window.last].append(WindowUnion(window, epoch, None, merged.get(window.last)))
    return unions


def _table(unions: Sequence[WindowUnion], *, impl: str) -> pa.Table:
    """The rows of one partition, shortest window first."""
    rows = sorted(unions, key=lambda union: len(union.window))
    stored = [None if row.sketch is None else row.sketch.to_bytes() for row in rows]
    firsts = [(row.window.first - EARLIEST_DAY).days for row in rows]
    lasts = [(row.window.last - EARLIEST_DAY).days for row in rows]
    columns = [
        fixed_width(np.array([len(row.window) for row in rows], np.int32), pa.int32()),
        fixed_width(np.array(firsts, np.int32), pa.date32()),
        fixed_width(np.array(lasts, np.int32), pa.date32()),
        fixed_width(np.array([row.epoch for row in rows], np.int32), pa.int32()),
        variable_width([impl.encode()] * len(rows), pa.string()),
        fixed_width(
            np.array([row.users or 0 for row in rows], np.int64),
            pa.int64(),
            is_null=[row.users is None for row in rows],
        ),
        variable_width(stored, pa.binary()),
    ]
    return pa.Table.from_arrays(columns, schema=UNION_SCHEMA)
