"""The status of a data folder: days reached, work pending, the budget, and one next action."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.monitor.status import report_status
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import new_workspace, stage_activity

START = date(2026, 5, 1)
NOW = datetime(2026, 5, 11, 8, tzinfo=UTC)  # the last closed day is 2026-05-10
TODAY = NOW.date()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Ten closed days and today, staged."""
    workspace = new_workspace(tmp_path / "data", now=NOW, series_start=START, sketch_impl="set")
    stage_activity(workspace, [("a", START + timedelta(days=offset)) for offset in range(11)])
    return workspace


class TestReportStatus:
    def test_an_empty_folder_asks_for_data(self, tmp_path: Path) -> None:
        """Before the first ingest nothing is reached and the next step is to ingest."""
        document = report_status(new_workspace(tmp_path / "data", now=NOW))
        assert document["last_event_day"] is None
        assert document["next_action"] == "dpdau ingest --from FILE"

    def test_staged_days_are_pending(self, workspace: Workspace) -> None:
        """Staged days are told apart by whether they are closed, with the batch that can be discarded."""
        document = report_status(workspace)
        assert (document["last_event_day"], document["closed_day"]) == ("2026-05-11", "2026-05-10")
        assert document["built_day"] is None
        folds = document["pending_folds"]
        assert (folds["closed_days"], folds["open_days"], len(folds["batches_not_folded"])) == (10, 1, 1)
        assert document["next_action"] == "dpdau release --start 2026-05-01 --end 2026-05-10"

    def test_erasures_come_first_and_grow_old(self, workspace: Workspace) -> None:
        """A pending erasure is the next action, and overdue after ERASURE_MAX_AGE_HOURS; flushed, it is gone."""
        request_erasure(workspace, [b"a"], through=TODAY, now=NOW - timedelta(hours=25))
        document = report_status(workspace)
        assert document["pending_erasures"] == {"requests": 1, "oldest_hours": 25.0, "is_overdue": True}
        assert document["next_action"] == "dpdau flush-deletes"
        flush_deletes(workspace)
        assert report_status(workspace)["pending_erasures"] == {
            "requests": 0,
            "oldest_hours": None,
            "is_overdue": False,
        }

    def test_without_a_series_it_asks_for_one(self, tmp_path: Path) -> None:
        """Releases need SERIES_START; the status says so."""
        workspace = new_workspace(tmp_path / "data", now=NOW)
        stage_activity(workspace, [("a", START)])
        document = report_status(workspace)
        assert document["next_action"].startswith("set SERIES_START")
        assert document["budget"]["dau"]["month_fits"] is None

    def test_after_releasing_everything_nothing_is_left(self, workspace: Workspace) -> None:
        """Built and released days are named per metric, the month fits by the defaults, nothing is to do."""
        days = DayRange(START, TODAY - timedelta(days=1))
        bring_up_to_date(workspace, days)
        publish_releases(workspace, ["dau", "wau", "mau"], days)
        document = report_status(workspace)
        assert document["built_day"] == "2026-05-10"
        assert document["released_day"] == dict.fromkeys(("dau", "wau", "mau"), "2026-05-10")
        assert all(part["month_fits"] is True for part in document["budget"].values())
        assert document["next_action"] == "nothing: every day up to 2026-05-10 is released"

    def test_is_json_and_holds_no_count_of_users(self, workspace: Workspace) -> None:
        """The document is plain JSON and the same whatever the number of users on the days."""
        first = json.dumps(report_status(workspace))
        other = new_workspace(workspace.lake.root.parent / "other", now=NOW, series_start=START, sketch_impl="set")
        stage_activity(other, [(f"user-{n}", START + timedelta(days=offset)) for offset in range(11) for n in range(5)])
        second = report_status(other)
        second["pending_folds"]["batches_not_folded"] = json.loads(first)["pending_folds"]["batches_not_folded"]
        assert json.dumps(second) == first
