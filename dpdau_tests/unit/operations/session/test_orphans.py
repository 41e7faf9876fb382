"""Files that no row of the ledger names."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.session.orphans import remove_orphans
from dpdau_tests.support.workspaces import key_files, new_workspace, stage_activity

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


class TestRemoveOrphans:
    def test_what_no_row_names_goes_and_the_rest_stays(self, tmp_path: Path) -> None:
        """Unknown files among staged and built ones are removed and counted; every recorded file stays."""
        workspace = new_workspace(tmp_path / "data")
        stage_activity(workspace, [("a", DAY), ("b", NEXT)])
        fold(workspace, DayRange.single(DAY))
        known = key_files(workspace)
        for path in [tmp_path / "data" / name for name in known]:
            path.with_name("unknown.parquet").write_bytes(b"nobody wrote this down")
        with workspace.lake.lock():
            assert remove_orphans(workspace) == len(known) == 2
        assert key_files(workspace) == known

    def test_empty_folders_of_staging_go(self, tmp_path: Path) -> None:
        """A folder of staging that lost its last file tells nobody that the day had activity."""
        workspace = new_workspace(tmp_path / "data")
        (folder := workspace.lake.root / "staging" / f"day={DAY}").mkdir()
        with workspace.lake.lock():
            assert remove_orphans(workspace) == 0
        assert not folder.exists()
