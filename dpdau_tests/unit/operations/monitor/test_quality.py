"""What the asset checks measure: the share of rejected rows, and the error of sketches."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.operations.monitor.quality import SketchAccuracy, rejected_rows, sketch_accuracy
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


class TestRejectedRows:
    def test_it_is_the_worst_source_of_the_last_day(self, tmp_path: Path) -> None:
        """The largest share of one source, however many good rows others bring; 0 without any, and after a day."""
        workspace = new_workspace(tmp_path / "data", quarantine_max_rate=0.2)
        assert rejected_rows(workspace).worst_share == 0
        stage_file(workspace, "a.csv", good=3, bad=1)
        stage_file(workspace, "b.csv", good=12, bad=0)
        found = rejected_rows(workspace)
        assert (found.worst_share, found.limit, found.is_too_many) == (1 / 4, 0.2, True)
        workspace.close()
        for hours, share in ((23, 1 / 4), (25, 0)):
            later = new_workspace(tmp_path / "data", now=LONG_AFTER + timedelta(hours=hours), quarantine_max_rate=0.25)
            assert (rejected_rows(later).worst_share, rejected_rows(later).is_too_many) == (share, False)
            later.close()


class TestSketchAccuracy:
    def test_a_user_too_many_is_an_error_that_nothing_explains(self, tmp_path: Path) -> None:
        """A sketch that holds every live user has no error; with another user in it, it has one, and no bound."""
        workspace = new_workspace(tmp_path / "data", mau_window_days=8, sketch_impl="kmv", sketch_k=4096)
        stage_activity(workspace, [(f"user-{number}", DAY) for number in range(10)])
        bring_up_to_date(workspace, DayRange.single(DAY))
        assert sketch_accuracy(workspace, DayRange.single(DAY)) == SketchAccuracy(0.0, 0.0)
        plant_keys(workspace, "daily_sketches", DAY, "somebody else")
        assert sketch_accuracy(workspace, DayRange.single(DAY)) == SketchAccuracy(0.1, 0.0)
