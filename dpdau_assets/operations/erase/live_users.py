"""Live users: erased pseudonyms leave staged files and raw events, and what remains are the live users of a day.

Belongs here: the steps within a session that rewrite key files without the erased, and erasure_replay(D). When they
run, and when a request is complete, belongs to `erasure_replay`. Nothing here records or logs on which days somebody
was found: every row of the days concerned is saved again, changed or not, because those days would be the person's
calendar.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.pieces import in_threads
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.publication import DAYS_PER_PUBLICATION, Publication
from dpdau_assets.operations.session.removals import Removal
from dpdau_assets.operations.session.session import LakeSession
from dpdau_assets.storage.lake.key_search import holds_any, is_worth_searching
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY, RAW_EVENTS
from dpdau_assets.storage.ledger.partitions import Partition


def replay_in_session(session: LakeSession, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Applies the snapshot's erasures to raw events, updates live users and returns the days whose users changed."""
    known = session.known_days(RAW_EVENTS, days)
    behind = [day for day in known if session.is_thorough or _is_behind(session, day)]

    def erase(new: Publication, chunk: list[date]) -> None:
        new.rows.extend(in_threads(partial(without_erased, session, new), chunk))

    def refer(new: Publication, chunk: list[date]) -> None:
        for day in chunk:
            refer_to_raw_events(session, new, day)

    session.publish_days(RAW_EVENTS, behind, erase, step="replay", progress=progress)
    stale = [day for day in known if not _is_current(session, day)]
    return session.publish_days(ERASURE_REPLAY, stale, refer, step="replay", progress=no_progress)


def clean_staged_in_session(session: LakeSession) -> None:
    """Rewrites every staged file of the session that holds an erased pseudonym."""
    files = [
        file
        for day in sorted(session.staged)
        for file in session.staged[day]
        if session.erased.concerns(file.day, epoch=file.epoch)
    ]
    for start in range(0, len(files), DAYS_PER_PUBLICATION):
        with session.publication() as new:
            for file in files[start : start + DAYS_PER_PUBLICATION]:
                path = session.staged_path(file)
                removal = _rewrite(session, new, path, file.digest, day=file.day, epoch=file.epoch)
                if removal is not None:
                    new.rewritten.append((file, removal.after))


def _is_behind(session: LakeSession, day: date) -> bool:
    return session.partitions[RAW_EVENTS, day].applied_erasure_seq < session.erasure_seq


def without_erased(session: LakeSession, new: Publication, day: date) -> Partition:
    """The row of a day's raw events after the erasures of the snapshot."""
    row = session.partitions[RAW_EVENTS, day]
    files: dict[str, str] = {}
    for name, digest in row.files.items():
        path = session.workspace.lake.partition_path(RAW_EVENTS, day, epoch=int(name))
        removal = _rewrite(session, new, path, digest, day=day, epoch=int(name))
        kept = digest if removal is None else removal.after
        if kept is not None:
            files[name] = kept
        if removal is not None:
            session.removals[day, int(name)] = removal
    return replace(row, files=files, applied_erasure_seq=session.erasure_seq)


def _rewrite(
    session: LakeSession, new: Publication, path: Path, digest: str, *, day: date, epoch: int
) -> Removal | None:
    """Removes erased pseudonyms from one key file. Returns None, mostly without reading it, if it holds none."""
    erased = session.erased.erased_on(day, epoch=epoch)
    if not erased.size or (is_worth_searching(path, erased) and not holds_any(path, erased)):
        return None
    live, removed = session.erased.split(session.read(path, digest), day=day, epoch=epoch)
    if not removed.size:
        return None
    return Removal(digest, new.files.write_keys(path, live) if live.size else None, removed)


def _is_current(session: LakeSession, day: date) -> bool:
    raw, live = session.partitions[RAW_EVENTS, day], session.partition(ERASURE_REPLAY, day)
    is_same = live is not None and live.input_digest == raw.digest and not session.is_thorough
    return is_same and live is not None and live.applied_erasure_seq >= raw.applied_erasure_seq


def refer_to_raw_events(session: LakeSession, new: Publication, day: date) -> None:
    """Makes a day's live users links of its raw events, which hold no erased pseudonym."""
    raw, lake = session.partitions[RAW_EVENTS, day], session.workspace.lake
    known = session.files(ERASURE_REPLAY, day)
    for name, digest in raw.files.items():
        if known.get(name) != digest or session.is_thorough:
            source = lake.partition_path(RAW_EVENTS, day, epoch=int(name))
            target = lake.partition_path(ERASURE_REPLAY, day, epoch=int(name))
            if target.exists() and not _is_same_file(source, target):
                session.check({source: digest})  # what is replaced may be the last whole copy of the day
            new.files.link(source, target)
    new.rows.append(Partition(ERASURE_REPLAY, day, dict(raw.files), raw.digest, raw.applied_erasure_seq))


def _is_same_file(source: Path, target: Path) -> bool:
    with suppress(FileNotFoundError):
        return source.samefile(target)
    return False
