"""A journal that lost its end so cleanly that no line tells: the note beside it does. Caps that lost days overfill."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import DataError, DpdauError
from dpdau_assets.operations.budget.lost_releases import assume_released
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.restore import Restored, restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.certificate import certify
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.journal.lines import files_in
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, add_activity, everybody, open_folder

LAST = NEW_YEAR + timedelta(days=5)


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A data folder of six days with room for a handful of releases a month."""
    workspace = open_folder(tmp_path / "data", mechanism="gaussian", dau_budget_total=0.6)
    add_activity(workspace, everybody(12, days=6))
    return workspace


def release(workspace: Workspace, first: int, last: int) -> None:
    """Releases all metrics of some days, counted from New Year."""
    publish_releases(workspace, METRICS, DayRange(NEW_YEAR + timedelta(days=first), NEW_YEAR + timedelta(days=last)))


def copy_away(workspace: Workspace, folder: Path, *names: str) -> None:
    """Copies folders of the data folder as they are now."""
    workspace.ledger.scrub()
    for name in names:
        shutil.copytree(workspace.lake.root / name, folder / name)


def put_back(workspace: Workspace, folder: Path, *names: str) -> None:
    """Puts folders back that were copied before."""
    workspace.close()
    for name in names:
        shutil.rmtree(workspace.lake.root / name)
        shutil.copytree(folder / name, workspace.lake.root / name)


def restored(workspace: Workspace) -> tuple[Workspace, Restored]:
    """The folder after a restore."""
    report = restore(workspace.settings, clock=workspace.clock)
    return open_workspace(workspace.settings, clock=workspace.clock, create=False), report


class TestEnd:
    def test_a_cleanly_cut_journal_without_its_ledger_is_a_gap(self, folder: Workspace, tmp_path: Path) -> None:
        """Values that were drawn after the cut are not drawn again, although every line that is left is whole."""
        release(folder, 0, 1)
        copy_away(folder, tmp_path / "before", "journal")
        release(folder, 2, 3)
        put_back(folder, tmp_path / "before", "journal")
        shutil.rmtree(folder.lake.root / "ledgers")
        workspace, report = restored(folder)
        assert [gap.until for gap in report.gaps] == [None]
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 2, 2)
        assert verify(workspace).ok

    def test_ledger_and_journal_of_an_older_copy_are_refused(self, folder: Workspace, tmp_path: Path) -> None:
        """Put back together they agree with each other; the folder that they are put into knows better."""
        release(folder, 0, 1)
        copy_away(folder, tmp_path / "before", "journal", "ledgers")
        release(folder, 2, 3)
        put_back(folder, tmp_path / "before", "journal", "ledgers")
        with pytest.raises(DataError, match="older than its journal") as refused:
            open_workspace(folder.settings, clock=folder.clock)
        assert "dpdau restore" in refused.value.hint
        workspace, report = restored(folder)
        assert (report.source, len(report.gaps)) == ("the present ledger", 1)
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 2, 2)
        with pytest.raises(DpdauError, match="lacks nothing"):
            restored(workspace)

    def test_without_the_note_everything_goes_on(self, folder: Workspace) -> None:
        """The note is evidence only: a folder that never had one, or lost it, works as before."""
        (folder.lake.root / "lake" / ".journal-end").unlink()
        folder.close()
        workspace = open_workspace(folder.settings, clock=folder.clock)
        release(workspace, 0, 0)
        assert (folder.lake.root / "lake" / ".journal-end").exists()
        assert verify(workspace).ok


class TestOverfilledCap:
    def test_lost_values_above_a_cap_are_told_and_stop_nothing_else(self, folder: Workspace) -> None:
        """Charges for lost values above a cap are a note; a certificate is given, and drawn ones would be a finding."""
        release(folder, 0, 1)
        request = request_erasure(folder, [b"user-3"], through=LAST, now=NOW).request
        flush_deletes(folder)
        folder.ledger.scrub()
        folder.close()
        shutil.rmtree(folder.lake.root / "ledgers")
        lines = files_in(folder.lake.journal_folder)[-1]
        whole = lines.read_bytes().splitlines(keepends=True)
        lines.write_bytes(b"".join(line for number, line in enumerate(whole) if number != len(whole) - 5))
        workspace, _ = restored(folder)
        assume_released(workspace, DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=7)), reason="all of them")
        found = verify(workspace)
        assert found.ok
        assert any("the dau account of 2025-01: above its cap" in note.line for note in found.notes)
        given = certify(workspace, request)
        assert "cap" not in given.text()
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE accounts SET epsilon_cap = 0.1 WHERE metric = 'dau'")
        assert "budget" in {finding.kind for finding in verify(workspace).findings}
