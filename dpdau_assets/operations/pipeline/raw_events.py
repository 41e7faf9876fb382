"""Fold: the staged files of a closed day become part of its raw events.

Belongs here: merging staged pseudonyms into raw_events(D). Staging a source belongs to `stage`; applying erasures to
days without staged files, to `erasure_replay`. A fold is a set union less the erased: repeated, in any order and over
any split into batches it gives the same bytes.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.publication import Publication
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import RAW_EVENTS
from dpdau_assets.storage.ledger.batches import StagedFile
from dpdau_assets.storage.ledger.partitions import Partition


def fold(workspace: Workspace, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Folds the staged files of the closed days of `days`; days still open stay staged.

    Guarantee: afterwards raw_events of each such day is exactly what its batches of the snapshot hold, less the
    erased. A crash at any point changes nothing that a repeat does not put right.

    Args:
        workspace: The open data folder.
        days: Days to fold.
        progress: Shows how far it is.

    Returns:
        Days whose raw events changed (trusted side).

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    with lake_session(workspace, days) as session:
        return fold_in_session(session, days, progress=progress)


def fold_in_session(session: LakeSession, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """As `fold`, within a session; every closed day of `days` has a row afterwards, empty days included."""
    closed = session.closed(days)
    todo = [day for day in closed if session.staged.get(day) or session.partition(RAW_EVENTS, day) is None]

    def add(new: Publication, chunk: list[date]) -> None:
        session.check({session.staged_path(file): file.digest for day in chunk for file in session.staged.get(day, [])})
        for day in chunk:
            fold_day(session, new, day)

    return session.publish_days(RAW_EVENTS, todo, add, step="fold", progress=progress)


def fold_day(session: LakeSession, new: Publication, day: date) -> None:
    """Adds the new raw events of one day to a publication."""
    known = session.partition(RAW_EVENTS, day)
    files = dict(known.files) if known else {}
    by_epoch: dict[int, list[StagedFile]] = {}
    for staged in session.staged.get(day, []):
        by_epoch.setdefault(staged.epoch, []).append(staged)
    is_complete = known is None or {int(epoch) for epoch in files} <= set(by_epoch)
    for epoch, sources in sorted(by_epoch.items()):
        digest = fold_file(session, new, day, epoch, sources, recorded=files.pop(str(epoch), None))
        if digest is not None:
            files[str(epoch)] = digest
        new.folded.extend(sources)
    applied = session.erasure_seq if known is None or is_complete else known.applied_erasure_seq
    new.rows.append(Partition(RAW_EVENTS, day, files, "", applied))


def fold_file(
    session: LakeSession, new: Publication, day: date, epoch: int, sources: list[StagedFile], *, recorded: str | None
) -> str | None:
    """Merges staged files of one epoch with the recorded file; the digest of the result, None when it has no key."""
    path = session.workspace.lake.partition_path(RAW_EVENTS, day, epoch=epoch)
    first = session.staged_path(sources[0])
    is_single = recorded is None and len(sources) == 1
    if is_single and not session.erased.concerns(day, epoch=epoch):
        new.files.link(first, path)
        return sources[0].digest
    parts = [session.read(session.staged_path(source), source.digest) for source in sources]
    if recorded is not None:
        parts.append(session.read(path, recorded))
    merged = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
    live = session.erased.without(merged, day=day, epoch=epoch)
    if is_single and live is merged:
        new.files.link(first, path)
        return sources[0].digest
    if recorded is not None and np.array_equal(live, parts[-1]):
        return recorded
    return new.files.write_keys(path, live) if live.size else None
