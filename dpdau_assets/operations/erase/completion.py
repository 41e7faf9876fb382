"""Marks erasure requests as complete once every partition that can hold their users has applied them.

Belongs here: the test of what has been reached, and recording it. The replay itself belongs to `erasure_replay`.
"""

from __future__ import annotations

from contextlib import suppress

from dpdau_assets.errors import StorageError
from dpdau_assets.operations.session.orphans import remove_orphans
from dpdau_assets.operations.session.session import LakeSession
from dpdau_assets.storage.ledger import batches, erasures, partitions


def complete_in_session(session: LakeSession) -> int:
    """Completes the requests of the snapshot, which has been applied everywhere. Returns how many they were."""
    done = _complete(session)
    session.workspace.ledger.scrub()
    return done


def _complete(session: LakeSession) -> int:
    workspace = session.workspace
    remove_orphans(workspace)
    workspace.lake.sweep_temporary(is_thorough=True)
    now = workspace.now()  # as backups tell theirs: which came first must not hang on a clock that was set back
    with workspace.ledger.write() as connection:
        partitions.mark_applied(connection, session.erasure_seq)
        return erasures.complete(connection, session.erasure_seq, now=now)


def complete_if_reached(session: LakeSession) -> int:
    """Completes the requests of the snapshot if no partition is behind it and nothing is staged. Returns how many.

    Releases come here: that somebody was erased must not decide whether they succeed. A log that a reader keeps from
    being emptied is emptied by the next flush, or removed with the last connection that is closed.
    """
    with session.workspace.ledger.read() as connection:
        pending = erasures.pending(connection, upto_seq=session.erasure_seq)
        lowest = partitions.lowest_applied(connection)
        is_reached = (lowest is None or lowest >= session.erasure_seq) and not batches.staged_days(connection)
    if not (pending and is_reached):
        return 0
    done = _complete(session)
    with suppress(StorageError):
        session.workspace.ledger.scrub()
    return done
