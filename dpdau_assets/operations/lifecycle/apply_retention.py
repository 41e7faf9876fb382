"""Retention: key-level data, tombstones and epoch secrets that are past RETENTION_DAYS go; counts and releases stay.

Belongs here: what goes, and the order in which it goes. The first day that stays is a matter of the calendar alone,
today less RETENTION_DAYS, and only ever moves forward.

    1  the counts of windows that hold a day that goes are kept: no key, and never counted again
    2  one ledger transaction: the new floor, those counts, and no row any more for what goes
    3  the files of those days are removed from staging and from every asset, and expired backups
    4  one ledger transaction: tombstones that concern no day that stays, and the epochs that are not needed any more
    5  their secrets are destroyed; the write-ahead log is emptied
    6  unions of later days that held a window of step 1 are built again without it; keys of closed offsets go too

Everything before the floor goes at every run, whatever an earlier one left undone: a kill anywhere is repaired by the
next. From 2 on, events of those days are refused as too old, and their unreleased windows as outside the series.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dpdau_assets.core.quantities import EARLIEST_DAY, METRICS, ONE_DAY, window_days
from dpdau_assets.errors import DataError
from dpdau_assets.operations.budget.shared_noise import destroy_closed_shared_noise
from dpdau_assets.operations.pipeline.mau_unions import build_unions_in_session, read_unions
from dpdau_assets.operations.recover.backup import remove_expired_backups
from dpdau_assets.operations.session.lineage import WAU_WINDOW_DAYS
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.backups.backup_needs import lowest_epoch_needed
from dpdau_assets.storage.disk.durable import make_names_durable, remove
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import ASSETS, DAY_MARK, ERASURE_REPLAY, MAU_UNIONS, day_of
from dpdau_assets.storage.ledger import batches, erasures, frozen_windows, partitions, salt_facts
from dpdau_assets.storage.ledger.frozen_windows import FrozenWindow
from dpdau_assets.storage.ledger.journal_entries import add_journal_entry


@dataclass(frozen=True, slots=True)
class Retained:
    """What a run of retention left (public: a matter of calendar and settings).

    Attributes:
        held_from: First day of key-level data that may be held; None while RETENTION_DAYS was never set.
        lowest_epoch: First salt epoch whose secret still exists.
        lowest_epoch_needed_by_backups: First epoch that a backup still needs, when it is what keeps older secrets.
        is_first_secret_set: Whether HASH_SALT_SECRET is still set: whoever has it can compute destroyed epochs again.
    """

    held_from: date | None
    lowest_epoch: int
    lowest_epoch_needed_by_backups: int | None
    is_first_secret_set: bool

    def to_json(self) -> dict[str, Any]:
        """As `dpdau apply-retention --json` prints it."""
        return {
            "held_from": self.held_from.isoformat() if self.held_from else None,
            "lowest_epoch": self.lowest_epoch,
            "lowest_epoch_needed_by_backups": self.lowest_epoch_needed_by_backups,
            "first_secret_is_set": self.is_first_secret_set,
        }


def apply_retention(
    workspace: Workspace, *, confirmed_today: date | None = None, progress: Progress = no_progress
) -> Retained:
    """Drops everything past RETENTION_DAYS; repeated, it changes nothing until the calendar moves on.

    Guarantee: afterwards no file below DATA_DIR but backups holds a pseudonym of a day before the floor, the tombstones
    that are left concern days that are held, and no key of an epoch that only such days were keyed under can be
    computed from the data folder. Released values and counts of frozen windows stay.

    Args:
        workspace: The open data folder.
        confirmed_today: The day that a person says it is; needed after two months in which nothing happened here,
            because a clock that is set ahead would drop everything.
        progress: Shows how far it is.

    Raises:
        ConfigurationError: The clock is months ahead of all that happened here, and nobody confirmed it;
            nothing was dropped.
        DataError: A stored file is not the recorded one; what was past retention is dropped all the same.
        StorageError: Disk, lock or ledger refused; the next run goes on.
    """
    with lake_session(workspace, None) as session:
        with workspace.ledger.write() as connection:
            workspace.advance_clock(connection, confirmed_today=confirmed_today)
            session.floor = max(session.floor, workspace.retained_from(connection))
        drop_rows(session)
        drop_files(workspace.lake, session.floor)
        remove_expired_backups(workspace)
        waiting = destroy_epochs(workspace, session.floor)
        workspace.ledger.scrub(repeat="dpdau apply-retention")
        rest = session.known_days(MAU_UNIONS, session.days)
        build_unions_in_session(session, [day for day in rest if day < _all_live_from(session)], progress=progress)
    destroy_closed_shared_noise(workspace)
    return Retained(
        session.floor if session.floor > EARLIEST_DAY else None,
        workspace.salts.lowest_epoch,
        waiting,
        workspace.settings.hash_salt_secret is not None,
    )


def drop_rows(session: LakeSession) -> None:
    """Steps 1 and 2."""
    floor = session.floor
    windows = list(_stored_counts(session))
    last_of_asset = dict.fromkeys(ASSETS, floor)
    last_of_asset[MAU_UNIONS] = floor + (WAU_WINDOW_DAYS - 1) * ONE_DAY
    with session.workspace.ledger.write() as connection:
        salt_facts.raise_retention_floor(connection, floor)
        frozen_windows.freeze(connection, windows)
        for asset, before in last_of_asset.items():
            partitions.forget(connection, asset, before=before)
        old = [file for day, files in session.staged.items() if day < floor for file in files]
        batches.forget_staged(connection, old, is_fold=False)
    for key in [(asset, day) for asset, day in session.partitions if day < last_of_asset[asset]]:
        del session.partitions[key]
    for day in [day for day in session.staged if day < floor]:
        del session.staged[day]


def _stored_counts(session: LakeSession) -> Iterator[FrozenWindow]:
    """The counts that are stored of windows that hold a day before the floor.

    A file that is damaged keeps nothing from being dropped; its counts are lost.
    """
    lengths = {metric: window_days(metric, session.workspace.settings.mau_window_days) for metric in METRICS}
    for day in session.known_days(ERASURE_REPLAY, session.days):
        if day < session.floor:
            with suppress(DataError):
                yield FrozenWindow(day, lengths["dau"], session.count_live(day) or 0, is_exact=True)
    for day in session.known_days(MAU_UNIONS, session.days):
        frozen = [length for length in lengths.values() if session.is_frozen(day - (length - 1) * ONE_DAY)]
        longer = [length for length in frozen if length > 1]
        with suppress(DataError):
            stored = read_unions(session, day) if longer else {}
            for length in longer:
                union = stored.get(length)
                if union is None or union.sketch is None:
                    yield FrozenWindow(day, length, (union.users if union else 0) or 0, is_exact=True)
                else:
                    yield FrozenWindow(day, length, round(union.sketch.estimate()), is_exact=union.sketch.complete)


def _all_live_from(session: LakeSession) -> date:
    """The first day whose longest window holds no dropped day."""
    return session.floor + (session.workspace.settings.mau_window_days - 1) * ONE_DAY


def drop_files(lake: Lake, floor: date) -> None:
    """Step 3: every file of a day before the floor, whether a row ever named it or not."""
    last_of_folder = {lake.staging: floor, **{lake.partitions / asset: floor for asset in ASSETS}}
    last_of_folder[lake.partitions / MAU_UNIONS] = floor + (WAU_WINDOW_DAYS - 1) * ONE_DAY
    for place, before in last_of_folder.items():
        folders = [folder for folder in place.glob(f"{DAY_MARK}*") if (day_of(folder.name) or date.max) < before]
        for folder in folders:
            remove(path for path in sorted(folder.iterdir()) if path.is_file())
            with suppress(OSError):  # a folder that holds something foreign stays, and is found by `verify`
                folder.rmdir()
        if folders:
            make_names_durable({place})


def destroy_epochs(workspace: Workspace, floor: date) -> int | None:
    """Steps 4 and 5; the first epoch that backups need, when older secrets stay for them."""
    salts, lake = workspace.salts, workspace.lake
    reach = timedelta(days=workspace.settings.mau_window_days - 1)
    unneeded = salts.calendar.window_epoch(floor - reach)
    by_backups = lowest_epoch_needed(lake.backups, now=workspace.now())
    lowest = unneeded if by_backups is None else min(unneeded, by_backups)
    with workspace.ledger.write() as connection:
        erasures.forget_tombstones(connection, before=floor, below_epoch=lowest)
        if lowest > salt_facts.destroyed_below(connection):
            salt_facts.set_destroyed_below(connection, lowest)
            add_journal_entry(connection, "epochs_destroyed", {"below": lowest})
    destroy_secrets(workspace, lowest)
    return by_backups if by_backups is not None and by_backups < unneeded else None


def destroy_secrets(workspace: Workspace, lowest: int) -> None:
    """Makes the secrets of all epochs before `lowest` unrecoverable, in the store and in what is left beside it."""
    path = workspace.lake.secrets_path
    workspace.salts.destroy_below(lowest, path=path)
    salt_file.wipe_temporary(path)  # also of a run that was killed between replacing the store and wiping the old one
