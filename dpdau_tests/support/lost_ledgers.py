"""A small folder, and the ways it can lose what it stores."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.recover.restore import Restored, restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.journal.lines import files_in, read
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    NOW,
    add_activity,
    everybody,
    open_folder,
)

USERS = 12
DAYS = 6
LAST = NEW_YEAR + timedelta(days=DAYS - 1)


def new_folder(path: Path) -> Workspace:
    """A data folder with twelve users on each of six days."""
    workspace = open_folder(path)
    add_activity(workspace, everybody(USERS, days=DAYS))
    return workspace


def day(number: int) -> date:
    """The n-th day of the series, from 0."""
    return NEW_YEAR + timedelta(days=number)


def release(workspace: Workspace, first: int, last: int | None = None, **options: Any) -> None:
    """Releases all metrics of some days."""
    publish_releases(workspace, METRICS, DayRange(day(first), day(first if last is None else last)), **options)


def erase(workspace: Workspace, user: str) -> None:
    """Requests the erasure of one user of every day."""
    request_erasure(workspace, [user.encode()], through=LAST, now=NOW)


def ledger_file(workspace: Workspace) -> Path:
    """The file of the ledger."""
    return workspace.lake.ledger_path


def destroy_ledger(workspace: Workspace) -> None:
    """Loses the ledger whole."""
    workspace.close()
    for path in ledger_file(workspace).parent.glob("ledger.sqlite*"):
        path.unlink()


def restored(workspace: Workspace, **options: Any) -> tuple[Workspace, Restored]:
    """The folder after a restore."""
    report = restore(workspace.settings, clock=workspace.clock, **options)
    return open_workspace(workspace.settings, clock=workspace.clock, create=False), report


def spend(workspace: Workspace) -> Any:
    """Everything charged, and the rows it is charged by."""
    with workspace.ledger.read() as connection:
        tables = ("accounts", "charges", "releases", "resets", "erasure_requests")
        rows = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in tables}
    rows["erasure_requests"] = [row[:-1] for row in rows["erasure_requests"]]  # when they were complete is new
    return rows


def lose_journal_lines(workspace: Workspace, *, kept: int) -> None:
    """Loses all lines of the journal but the first ones."""
    lines = read(workspace.lake.journal_folder).lines
    path = files_in(workspace.lake.journal_folder)[0]
    path.write_bytes(path.read_bytes()[: lines[kept].offset])
