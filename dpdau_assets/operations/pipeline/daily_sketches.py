"""Daily sketches: a summary of each day's live users, one for each epoch the day is keyed under.

Belongs here: daily_sketches(D). What a sketch is belongs to core/sketches; which users are live, to `erasure_replay`.
With SKETCH_IMPL=set a sketch would be a copy of the live users, so the partition refers to their files instead. A
complete kmv sketch and a theta sketch could drop an erased key in place; they are made again from the live users like
the others, because the bytes are the same and there is one way to be right. The sketches of the other days stay as they
are: for hll they are the cache of registers from which windows are united without looking at keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.protocol import DistinctSketch
from dpdau_assets.errors import DataError
from dpdau_assets.operations.erase.live_users import replay_in_session
from dpdau_assets.operations.pipeline.raw_events import fold_in_session
from dpdau_assets.operations.session.lineage import sketch_inputs
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.publication import Publication
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_assets.storage.lake.columns import variable_width
from dpdau_assets.storage.lake.key_files import read_table
from dpdau_assets.storage.lake.layout import DAILY_SKETCHES, ERASURE_REPLAY
from dpdau_assets.storage.ledger.partitions import Partition, digest_of

SKETCH_COLUMN = "sketch"
NO_FILES = digest_of({})


def build_sketches(workspace: Workspace, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Brings the closed days of `days` up to date as far as their sketches.

    Args:
        workspace: The open data folder.
        days: Days to build.
        progress: Shows how far it is.

    Returns:
        Days whose sketches changed (trusted side).

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    with lake_session(workspace, days) as session:
        return sketches_up_to_date(session, days, progress=progress)


def sketches_up_to_date(session: LakeSession, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Folds, replays and builds the sketches of `days` at the session's snapshot; the days whose sketches changed."""
    fold_in_session(session, days, progress=progress)
    replay_in_session(session, days, progress=progress)
    return build_sketches_in_session(session, session.closed(days), progress=progress)


def build_sketches_in_session(
    session: LakeSession, days: Sequence[date], *, progress: Progress = no_progress
) -> set[date]:
    """Builds the sketches of `days` that are not current with the live users; the days that changed."""
    stale = [day for day in days if not _is_current(session, day)]

    def add(new: Publication, chunk: list[date]) -> None:
        for day in chunk:
            _build(session, new, day)

    return session.publish_days(DAILY_SKETCHES, stale, add, step="sketches", progress=progress)


def read_sketch(session: LakeSession, day: date, *, epoch: int) -> DistinctSketch | None:
    """The stored sketch of a day under one epoch, None when the day has no users; sensitive.

    Raises:
        DataError: The file is not the recorded one.
    """
    digest = session.files(DAILY_SKETCHES, day).get(str(epoch))
    if digest is None:
        return None
    path = session.workspace.lake.partition_path(DAILY_SKETCHES, day, epoch=epoch)
    table = read_table(path, digest=digest)
    if table.column_names != [SKETCH_COLUMN] or table.num_rows != 1:
        raise DataError(f"{path} is not a sketch file", hint="run `dpdau rebuild` over that day")
    return sketch_plan(session.workspace.settings).from_bytes(table.column(SKETCH_COLUMN)[0].as_py())


def _is_current(session: LakeSession, day: date) -> bool:
    row = session.partition(DAILY_SKETCHES, day)
    if row is None or session.is_thorough:
        return False
    return row.input_digest == _inputs(session, day) and row.applied_erasure_seq >= _applied(session, day)


def _inputs(session: LakeSession, day: date) -> str:
    live = session.partition(ERASURE_REPLAY, day)
    return sketch_inputs(live.digest if live else NO_FILES, plan=sketch_plan(session.workspace.settings))


def _applied(session: LakeSession, day: date) -> int:
    live = session.partition(ERASURE_REPLAY, day)
    return live.applied_erasure_seq if live else session.erasure_seq


def _build(session: LakeSession, new: Publication, day: date) -> None:
    """Adds the sketches of one day to a publication."""
    plan, lake = sketch_plan(session.workspace.settings), session.workspace.lake
    inputs, applied = _inputs(session, day), _applied(session, day)
    live = session.files(ERASURE_REPLAY, day)
    known = session.partition(DAILY_SKETCHES, day)
    if plan.impl == "set":
        new.references.append(Partition(DAILY_SKETCHES, day, dict(live), inputs, applied))
        return
    if known is not None and known.input_digest == inputs and not session.is_thorough:
        new.rows.append(Partition(DAILY_SKETCHES, day, dict(known.files), inputs, applied))
        return
    files: dict[str, str] = {}
    for name in live:
        keys = session.read_live(day, int(name), lake.partition_path(ERASURE_REPLAY, day, epoch=int(name)))
        stored = plan.from_keys(keys).to_bytes()
        path = lake.partition_path(DAILY_SKETCHES, day, epoch=int(name))
        files[name] = new.files.write_table(
            path, pa.Table.from_arrays([variable_width([stored], pa.binary())], names=[SKETCH_COLUMN])
        )
    new.rows.append(Partition(DAILY_SKETCHES, day, files, inputs, applied))
