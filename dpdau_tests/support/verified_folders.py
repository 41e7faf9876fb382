"""A built data folder for tests of verification: with releases, one user erased for good and one who came back."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import Action, Finding, Verification
from dpdau_assets.storage.journal.lines import files_in
from dpdau_assets.storage.lake.key_files import read_keys, read_table, write_keys, write_table
from dpdau_assets.storage.ledger import partitions
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

FIRST = date(2026, 3, 20)
DAYS = DayRange(FIRST, FIRST + timedelta(days=11))
WINDOW = 8
LATER = DAYS.last + timedelta(days=3)
HELD = f"{FIRST - timedelta(days=WINDOW - 1)}..{LATER}"
"""From the first day of the first window to the last staged day."""
FOLLOWED = (Action.BACKUP, Action.BACKUP_THEN_REMOVE, Action.REMOVE, Action.REMOVE_THEN_BACKUP)
GONE, RETURNED = "user-3", "user-5"
RETURN_DAY = FIRST + timedelta(days=8)


def build(folder: Path, sketch_impl: str) -> Workspace:
    """A folder with releases, from which one user is erased for good, and one who came back."""
    workspace = new_workspace(
        folder,
        sketch_impl=sketch_impl,
        sketch_k=4096,
        series_start=FIRST,
        mau_window_days=WINDOW,
        hash_salt_rotation_days=20,
    )
    days = list(DAYS)
    stage_activity(workspace, [(f"user-{n}", day) for n in range(40) for day in days[n % 3 :: 3]])
    bring_up_to_date(workspace, DAYS)
    for user, through in ((GONE, DAYS.last), (RETURNED, RETURN_DAY)):
        request_erasure(workspace, [user.encode()], through=through, now=LONG_AFTER)
    flush_deletes(workspace)
    stage_activity(workspace, [("user-1", LATER), (RETURNED, LATER)])
    publish_releases(workspace, ["dau", "mau"], DayRange(FIRST, FIRST + timedelta(days=2)))
    return workspace


def key_of(workspace: Workspace, user: str = GONE, day: date = DAYS.last) -> int:
    """The pseudonym of a user under the epoch of a day."""
    epoch = workspace.salts.calendar.epoch_of(day)
    return int(user_keys(workspace.salts.epoch_key(epoch), [user.encode()])[0])


def signed(key: int) -> int:
    """A pseudonym as the ledger stores it."""
    return key - (1 << 64) if key >> 63 else key


def the(kind: str, found: Verification) -> Finding:
    """The only finding of a kind, which must be there."""
    chosen = [finding for finding in found.findings if finding.kind == kind]
    assert len(chosen) == 1, found.findings
    return chosen[0]


def flip(path: Path) -> None:
    """Turns one bit in the middle of a file, in a new file so that links keep theirs."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.unlink()
    path.write_bytes(content)


def plant_keys(workspace: Workspace, asset: str, day: date, *users: str) -> None:
    """Puts pseudonyms into a key file and makes the ledger believe that it is the right one."""
    with workspace.ledger.read() as connection:
        row = partitions.load(connection, [asset], day, day)[asset, day]
    epoch = workspace.salts.calendar.epoch_of(day)
    path = workspace.lake.partition_path(asset, day, epoch=epoch)
    added = user_keys(workspace.salts.epoch_key(epoch), [user.encode() for user in users])
    if asset == "daily_sketches":
        sketch = KmvSketch.from_bytes(read_table(path)["sketch"][0].as_py())
        blob = sketch.union(KmvSketch.from_keys(added, k=4096)).to_bytes()
        digest = write_table(path, pa.table({"sketch": pa.array([blob], pa.binary())}))
    else:
        digest = write_keys(path, np.union1d(read_keys(path), added))
    files = {**row.files, str(epoch): digest}
    with workspace.ledger.write() as connection:
        changed = Partition(asset, day, files, row.input_digest, row.applied_erasure_seq)
        partitions.save(connection, [changed], now=LONG_AFTER)


def journal_file(workspace: Workspace) -> Path:
    return files_in(workspace.lake.journal_folder)[-1]


def follow(workspace: Workspace, finding: Finding) -> None:
    """Does what repairs a finding."""
    repair = finding.repair
    if repair.action in (Action.BACKUP, Action.BACKUP_THEN_REMOVE):
        backup(workspace)
    if repair.action in (Action.REMOVE, Action.BACKUP_THEN_REMOVE, Action.REMOVE_THEN_BACKUP):
        assert repair.paths, repair
        for path in repair.paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    if repair.action is Action.REMOVE_THEN_BACKUP:
        backup(workspace, with_lake=repair.paths[0].is_dir())
    elif repair.action is Action.FLUSH_DELETES:
        flush_deletes(workspace)
    elif repair.action is Action.REBUILD:
        assert repair.days is not None, repair
        rebuild(workspace, repair.days)
    elif repair.action not in FOLLOWED:
        raise AssertionError(repair)
