"""What can be brought back without a copy: raw events from their links, an unreadable intent, a ledger's free space.

Belongs here: repairs that `rebuild` makes before it trusts anything. What is made again from raw events belongs to the
operation of each asset; what only a copy can bring back, to `restore`.
"""

from __future__ import annotations

from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.lake_session import LakeSession
from dpdau_assets.operations.lineage import ERASURE_REPLAY, RAW_EVENTS
from dpdau_assets.operations.publication import intent_path, is_readable, partition_files
from dpdau_assets.operations.verification import AppliedErasures, Report
from dpdau_assets.operations.verify_places import verify_pages
from dpdau_assets.operations.workspace import Workspace
from dpdau_assets.storage.files import file_digest, remove


def heal_raw_events(session: LakeSession, days: DayRange) -> int:
    """Puts missing or damaged files of raw events back from the live users of their days; how many files that were.

    After a replay both hold the same bytes, and the ledger's digest tells whether a file is still that. Where neither
    is, nothing changes: only a copy helps then.

    Raises:
        StorageError: A file cannot be read or written.
    """
    lake = session.workspace.lake
    with lake.write_batch() as files:
        healed = 0
        for day in session.known_days(RAW_EVENTS, days):
            for path, digest in partition_files(lake, RAW_EVENTS, day, session.files(RAW_EVENTS, day)).items():
                copy = lake.partition_folder(ERASURE_REPLAY, day) / path.name
                if not _holds(path, digest) and _holds(copy, digest):
                    files.link(copy, path)
                    healed += 1
        files.publish()
    return healed


def _holds(path: Path, digest: str) -> bool:
    return path.is_file() and file_digest(path) == digest


def drop_unreadable_intent(workspace: Workspace) -> bool:
    """Removes an intent that cannot be read, so that the ledger alone says what files should hold; whether it did.

    A rebuild checks raw events and staged files against the ledger next, and makes the rest again. Hold the lake lock.
    """
    path = intent_path(workspace.lake)
    if not path.exists() or is_readable(workspace.lake):
        return False
    remove([path])
    return True


def clean_ledger(workspace: Workspace) -> bool:
    """Writes the ledger anew when its free space or its log holds a pseudonym that must be gone; whether it did.

    Raises:
        StorageError: The ledger cannot be written.
    """
    with workspace.ledger.read() as connection:
        erased = AppliedErasures.read(connection, levels=())
    report = Report()
    verify_pages(workspace, erased.search, report)
    if report.findings:
        workspace.ledger.compact()
    return bool(report.findings)
