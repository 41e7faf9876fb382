"""Replay: erased pseudonyms leave every file, and a day's live users are what remains of its raw events.

Belongs here: when erasures are applied, and when a request is complete. How files are rewritten belongs to
`live_users`; recording a request, to `erase.request`.
"""

from __future__ import annotations

from datetime import date

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.completion import complete_in_session
from dpdau_assets.operations.erase.live_users import clean_staged_in_session, replay_in_session
from dpdau_assets.operations.pipeline.daily_sketches import build_sketches_in_session
from dpdau_assets.operations.pipeline.mau_unions import build_unions_in_session
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.layout import DAILY_SKETCHES, MAU_UNIONS
from dpdau_assets.storage.ledger import erasures


def replay_erasures(workspace: Workspace, days: DayRange, *, progress: Progress = no_progress) -> set[date]:
    """Applies every erasure of the snapshot to `days` and brings their live users up to date.

    Guarantee: afterwards no staged file, raw event or live user of `days` holds a pseudonym erased on its day.

    Args:
        workspace: The open data folder.
        days: A contiguous range chosen without looking at who was active.
        progress: Shows how far it is.

    Returns:
        Days whose live users changed (trusted side; tell nobody: they may be one person's).

    Raises:
        DataError: A stored file is not the recorded one.
        StorageError: The disk or the ledger refused.
    """
    with lake_session(workspace, days) as session:
        clean_staged_in_session(session)
        return replay_in_session(session, days, progress=progress)


def flush_deletes(workspace: Workspace, *, progress: Progress = no_progress) -> int:
    """Applies every pending erasure everywhere and completes the requests; how many requests that were.

    Guarantee: afterwards no file of the data folder holds a pseudonym for a day on which it is erased, except the
    tombstone; sketches and unions that were built are built again where their inputs changed; and nothing links the
    tombstones of one person.

    Args:
        workspace: The open data folder.
        progress: Shows how far it is.

    Raises:
        DataError: A stored file is not the recorded one; the requests stay pending.
        StorageError: The disk or the ledger refused; the requests stay pending. Or they are complete and its
            log could not be emptied. Repeat it in both cases.
    """
    with lake_session(workspace, None) as session:
        with workspace.ledger.read() as connection:
            is_pending = bool(erasures.pending(connection, upto_seq=session.erasure_seq))
        if not is_pending:
            workspace.ledger.scrub()  # a completion may have been killed before it
            return 0
        clean_staged_in_session(session)
        replay_in_session(session, session.days, progress=progress)
        build_sketches_in_session(session, session.known_days(DAILY_SKETCHES, session.days), progress=progress)
        build_unions_in_session(session, session.known_days(MAU_UNIONS, session.days), progress=progress)
        return complete_in_session(session)
