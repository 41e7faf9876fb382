"""Verifying a data folder: nobody erased is left anywhere, files are those recorded, charges and caps agree.

Belongs here: the order of the checks and what they cover; each belongs to a module of its own. Nothing is repaired:
every finding names the command that does. `dpdau verify`, the blocking asset check and certificates are this function.

The whole folder is looked at by `dpdau verify` and for each certificate. The asset check of the daily run passes its
`days`: then partitions of those days and of the windows behind them are looked at, and everywhere else what a run can
have written: staging, tmp/, reports, exports, the catalogue and every page of the ledger. Left to the whole scan are
partitions of other days, tombstones of epochs under which nothing is held, Dagster's home, backups and the journal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import (
    ConfigurationError,
    DataError,
    LedgerDamagedError,
    LedgerMismatchError,
    LedgerOutdatedError,
    SaltStoreDamagedError,
    SaltStoreMismatchError,
    StorageError,
)
from dpdau_assets.operations.budget.shared_noise import closed_shared_noise
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.operations.session.workspace import Clock, Workspace, utc_now
from dpdau_assets.operations.verify.backups import verify_backups
from dpdau_assets.operations.verify.findings import (
    RESTORE,
    SALTS,
    Action,
    AppliedErasures,
    Repair,
    Report,
    Verification,
)
from dpdau_assets.operations.verify.journal import verify_journal
from dpdau_assets.operations.verify.lake import KnownFiles, verify_lake
from dpdau_assets.operations.verify.ledger import verify_ledger
from dpdau_assets.operations.verify.orphans import verify_orphans
from dpdau_assets.operations.verify.other_places import verify_places
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.journal.lines import files_in
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import ASSETS
from dpdau_assets.storage.ledger import batches, partitions

STEPS = 4


def verify(workspace: Workspace, days: DayRange | None = None, *, progress: Progress = no_progress) -> Verification:
    """Looks for everything that must not be in a data folder; changes nothing.

    Guarantee: when it is ok and nothing is pending, no file below DATA_DIR held a pseudonym of a complete erasure on an
    erased day, apart from its tombstone, at some moment during the call. Findings hold no pseudonym, id or exact count,
    and never the days on which somebody was found.

    Args:
        workspace: The open data folder.
        days: Days of a run, for the daily check; None looks at everything.
        progress: Shows how far it is.

    Raises:
        StorageError: The disk, or a lock that does not come free.
    """
    report = Report()
    try:
        _look(workspace, days, report, progress)
    except (LedgerDamagedError, LedgerOutdatedError) as error:
        report.find("ledger", "the ledger", error.message, repair=RESTORE)
    return report.finish()


def verify_folder(settings: Settings, *, clock: Clock = utc_now, progress: Progress = no_progress) -> Verification:
    """As `verify`, of the data folder of `settings`; one that refuses to open is a finding, too.

    Raises:
        StorageError: There is no data folder, or this process may not use it: nothing is known of it then.
    """
    try:
        workspace = open_workspace(settings, clock=clock, create=False)
    except (ConfigurationError, DataError, StorageError) as error:
        lake = Lake(settings.root)
        is_machine = isinstance(error, StorageError) and not isinstance(error, LedgerDamagedError)
        if is_machine or (not lake.ledger_id_path.exists() and not files_in(lake.journal_folder)):
            raise
        report = Report()
        _report_refusal(report, error)
        return report.finish()
    try:
        return verify(workspace, progress=progress)
    finally:
        workspace.close()


def _report_refusal(report: Report, error: ConfigurationError | DataError | StorageError) -> None:
    """Reports why a data folder does not open: the salt store, the ledger, or a setting that either disagrees with."""
    if isinstance(error, SaltStoreDamagedError | SaltStoreMismatchError):
        report.find("salts", SALTS, error.message, repair=Repair(Action.REPAIR_SALTS, error.hint))
        return
    says_restore = isinstance(error, LedgerDamagedError | LedgerMismatchError | LedgerOutdatedError)
    line = error.hint if says_restore else f"{RESTORE}; or {error.hint}"
    report.find("ledger", "the ledger", error.message, repair=Repair(Action.RESTORE, line))


def _look(workspace: Workspace, days: DayRange | None, report: Report, progress: Progress) -> None:
    progress("verify", 0, STEPS)
    verify_ledger(workspace, report, is_full=days is None)
    if closed_shared_noise(workspace):
        report.wait("keys of noise offsets are past their day: dpdau apply-retention, or Dagster's retention_schedule")
    progress("verify", 1, STEPS)
    with workspace.lake.lock():
        known, erased = _known(workspace, days)
        verify_lake(workspace, known, erased, report)
        verify_orphans(workspace, known, erased, report)
    progress("verify", 2, STEPS)
    verify_places(workspace, erased.search, report, with_dagster=days is None)
    progress("verify", 3, STEPS)
    if days is None:
        verify_journal(workspace, erased.search, report)
        verify_backups(workspace, report)
    progress("verify", STEPS, STEPS)


def _known(workspace: Workspace, days: DayRange | None) -> tuple[KnownFiles, AppliedErasures]:
    """What the ledger names and what must be gone, at one state of the ledger."""
    behind = days_behind_windows(days, workspace.settings.mau_window_days) if days else None
    with workspace.ledger.read() as connection:
        rows = partitions.load(connection, ASSETS)
        staged = batches.staged_between(connection)
        held = [*(day for _, day in rows), *(file.day for file in staged)] or [workspace.today()]
        scope = behind or DayRange(min(held), max(held))
        levels = {row.applied_erasure_seq for (_, day), row in rows.items() if day in scope}
        erased = AppliedErasures.read(connection, levels=levels, epochs=_epochs(workspace, held) if days else None)
    return KnownFiles(rows, staged, scope), erased


def _epochs(workspace: Workspace, held: Iterable[date]) -> set[int]:
    """The epochs under which anything held is keyed: no operation of a run writes pseudonyms of another."""
    calendar, length = workspace.salts.calendar, workspace.settings.mau_window_days
    return {epoch for day in set(held) for epoch in calendar.keyed_epochs(day, length)}
