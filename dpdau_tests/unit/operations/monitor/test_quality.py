"""What the asset checks measure: the share of rejected rows, and the error of sketches."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.operations.monitor.quality import SketchAccuracy, quarantine_rate, sketch_accuracy
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.verified_folders import plant_keys
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

DAY = date(2026, 5, 1)


def stage_file(workspace: Workspace, name: str, *, good: int, bad: int) -> None:
    """Stages a source with some rows that have no day."""
    rows = ["user_id,day", *(f"{name}-{number},{DAY}" for number in range(good)), *["x,never"] * bad]
    workspace.lake.inbox.mkdir(exist_ok=True)
    (workspace.lake.inbox / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    stage_inbox(workspace, [name])


class TestQuarantineRate:
    def test_it_is_the_share_of_all_rows_received_since(self, tmp_path: Path) -> None:
        """Rejected rows over all rows of all sources since then; 0 without any row."""
        workspace = new_workspace(tmp_path / "data", quarantine_max_rate=0.9)
        assert quarantine_rate(workspace, since=LONG_AFTER) == 0
        stage_file(workspace, "a.csv", good=3, bad=1)
        stage_file(workspace, "b.csv", good=12, bad=0)
        assert quarantine_rate(workspace, since=LONG_AFTER) == 1 / 16
        assert quarantine_rate(workspace, since=LONG_AFTER + timedelta(seconds=1)) == 0


class TestSketchAccuracy:
    def test_a_user_too_many_is_an_error_that_nothing_explains(self, tmp_path: Path) -> None:
        """A sketch that holds every live user has no error; with another user in it, it has one, and no bound."""
        workspace = new_workspace(tmp_path / "data", mau_window_days=8, sketch_impl="kmv", sketch_k=4096)
        stage_activity(workspace, [(f"user-{number}", DAY) for number in range(10)])
        bring_up_to_date(workspace, DayRange.single(DAY))
        assert sketch_accuracy(workspace, DayRange.single(DAY)) == SketchAccuracy(0.0, 0.0)
        plant_keys(workspace, "daily_sketches", DAY, "somebody else")
        assert sketch_accuracy(workspace, DayRange.single(DAY)) == SketchAccuracy(0.1, 0.0)
