"""What can be brought back without a copy: raw events from their links, an unreadable intent, a ledger's free space.

Belongs here: repairs that `rebuild` makes before it trusts anything. What is made again from raw events belongs to the
operation of each asset; what only a copy can bring back, to `restore`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.publication import is_readable, partition_files
from dpdau_assets.operations.session.session import LakeSession
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import AppliedErasures, Report
from dpdau_assets.operations.verify.other_places import verify_pages
from dpdau_assets.storage.disk.durable import has_digest, remove
from dpdau_assets.storage.lake.layout import ERASURE_REPLAY, RAW_EVENTS
from dpdau_assets.storage.ledger import batches, partitions
from dpdau_assets.storage.ledger.batches import StagedFile


def repair_raw_events(session: LakeSession, days: DayRange) -> int:
    """Puts missing or damaged files of raw events back from the live users of their days; how many files that were.

    After a replay both hold the same bytes, and the ledger's digest tells whether a file is still that. Where neither
    is, nothing changes: only a copy helps then.

    Raises:
        StorageError: A file cannot be read or written.
    """
    lake = session.workspace.lake
    with lake.write_batch() as files:
        repaired = 0
        for day in session.known_days(RAW_EVENTS, days):
            for path, digest in partition_files(lake, RAW_EVENTS, day, session.files(RAW_EVENTS, day)).items():
                copy = lake.partition_folder(ERASURE_REPLAY, day) / path.name
                if not has_digest(path, digest) and has_digest(copy, digest):
                    files.link(copy, path)
                    repaired += 1
        files.publish()
    return repaired


def give_up_lost(session: LakeSession, days: DayRange) -> int:
    """Goes on without files of raw events and of staging that are missing or damaged; how many files those are.

    Their days count without them from now on. Call it after `repair_raw_events`: what is left then, only a copy would
    bring back, and while it is recorded no erasure of those days can be completed.

    Raises:
        StorageError: The disk or the ledger refused.
    """
    workspace = session.workspace
    rows, staged = [], [file for day in days for file in session.staged.get(day, []) if _is_lost_staged(session, file)]
    lost: list[Path] = [session.staged_path(file) for file in staged]
    for day in session.known_days(RAW_EVENTS, days):
        row = session.partitions[RAW_EVENTS, day]
        paths = partition_files(workspace.lake, RAW_EVENTS, day, row.files)
        kept = {
            epoch: row.files[epoch]
            for epoch, (path, digest) in zip(row.files, paths.items(), strict=True)
            if has_digest(path, digest)
        }
        if len(kept) < len(row.files):
            rows.append(replace(row, files=kept, input_digest=""))
            lost += [path for path, digest in paths.items() if not has_digest(path, digest)]
    with workspace.ledger.write() as connection:
        partitions.save(connection, rows, now=workspace.clock())
        batches.forget_staged(connection, staged, is_fold=False)
    remove(lost)
    session.partitions.update({(row.asset, row.day): row for row in rows})
    for file in staged:
        session.staged[file.day].remove(file)
    return len(lost)


def _is_lost_staged(session: LakeSession, file: StagedFile) -> bool:
    return not has_digest(session.staged_path(file), file.digest)


def drop_unreadable_intent(workspace: Workspace) -> bool:
    """Removes an intent that cannot be read, so that the ledger alone says what files should hold; whether it did.

    A rebuild checks raw events and staged files against the ledger next, and makes the rest again. Hold the lake lock.
    """
    path = workspace.lake.intent_path
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
