"""How far back releases are due is said once: whoever asks for it follows."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.monitor.alerts import find_alerts
from dpdau_assets.operations.monitor.status import report_status
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.orchestration.resources import resources
from dpdau_assets.settings.settings import Settings, project_settings
from dpdau_tests.support.dagster_folder import Folder, activity, ago, make_folder, past
from dpdau_tests.support.workspaces import new_workspace, stage_activity

LOOK_BACK = 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder of a program that looks four days back."""
    monkeypatch.setattr(Settings, "LOOK_BACK_DAYS", LOOK_BACK)
    made = make_folder(tmp_path, dg.DagsterInstance.ephemeral(), mechanism="gaussian")
    made.ingest("some.csv", activity(past(LOOK_BACK)))
    return made


def _of_status(workspace: Workspace) -> str:
    return str(report_status(workspace)["next_action"])


class TestLookBack:
    def test_the_schedule_looks_as_far_back_as_it_says(self, folder: Folder) -> None:
        """The run it asks for starts at the look-back, and its description names it."""
        schedule = folder.definitions.resolve_schedule_def("daily_release_schedule")
        context = dg.build_schedule_context(
            instance=folder.instance,
            scheduled_execution_time=datetime.now(UTC),
            repository_def=folder.definitions.get_repository_def(),
            resources=resources(folder.lake),
        )
        (request,) = schedule.evaluate_tick(context).run_requests or ()
        assert request.tags["dagster/asset_partition_range_start"] == ago(LOOK_BACK).isoformat()
        assert f"last {LOOK_BACK} days" in str(schedule.description)

    def test_status_alert_and_check_look_as_far(self, folder: Folder) -> None:
        """The command that the status names, the alert's days (a day later) and the days of a check run alone."""
        with folder.lake.open() as workspace:
            assert _of_status(workspace) == f"dpdau release --start {ago(LOOK_BACK)} --end {ago(1)}"
            late = [alert for alert in find_alerts(workspace) if alert.key == "releases_late"]
        assert str(DayRange(ago(LOOK_BACK + 1), ago(2))) in late[0].text
        job = folder.definitions.resolve_implicit_global_asset_job_def()
        check = dg.AssetCheckKey(dg.AssetKey("erasure_replay"), "no_erased_user")
        result = job.get_subset(asset_selection=set(), asset_check_selection={check}).execute_in_process(
            instance=folder.instance, resources=resources(folder.lake)
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert evaluation.metadata["days"].value == str(past(LOOK_BACK))

    def test_retention_must_leave_that_many_windows(self, folder: Folder, tmp_path: Path) -> None:
        """RETENTION_DAYS is refused when the windows of the look-back would be dropped, and accepted from there on."""
        least = folder.settings.mau_window_days + LOOK_BACK
        (tmp_path / ".env").write_text(f"RETENTION_DAYS={least - 1}\n", encoding="utf-8")
        with pytest.raises(ConfigurationError, match=f"the windows of the last {LOOK_BACK} days"):
            project_settings(tmp_path)
        (tmp_path / ".env").write_text(f"RETENTION_DAYS={least}\n", encoding="utf-8")
        assert project_settings(tmp_path).retention_days == least


class TestFinishedSeries:
    def test_the_status_does_not_ask_for_what_the_schedule_has_given_up(self, tmp_path: Path) -> None:
        """A series that ended before the look-back: nothing is due, and the status says why."""
        now = datetime(2026, 5, 11, 8, tzinfo=UTC)
        first, last = date(2026, 3, 1), date(2026, 3, 2)
        workspace = new_workspace(
            tmp_path / "data", now=now, sketch_impl="set", mechanism="gaussian", series_start=first, series_end=last
        )
        stage_activity(workspace, [("somebody", first), ("somebody", last)])
        assert _of_status(workspace) == f"nothing: the series ended on {last}"
        assert find_alerts(workspace) == []
