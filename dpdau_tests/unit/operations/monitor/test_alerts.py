"""What is worth an alert: each state gives its one line and ends with the state."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.operations.monitor.alerts import Alert, AlertKind, find_alerts
from dpdau_assets.operations.monitor.status import report_status
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import new_workspace, stage_activity

NOW = datetime(2026, 5, 11, 8, tzinfo=UTC)  # 2026-05-09 has been closed for more than a day
TODAY = NOW.date()
METRICS = ("dau", "wau", "mau")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A folder without a series, with three days staged."""
    made = new_workspace(tmp_path / "data", now=NOW, sketch_impl="set")
    stage_activity(made, [("somebody", TODAY - timedelta(days=offset)) for offset in range(3)])
    yield made
    made.close()


def _reopened(workspace: Workspace, *, now: datetime = NOW, **settings: object) -> Workspace:
    """The same folder at another time, or with other settings."""
    workspace.close()
    return new_workspace(workspace.lake.root, now=now, sketch_impl="set", **settings)


def _text(alerts: list[Alert]) -> str:
    return " ".join(f"{alert.key} {alert.text} {alert.hint}" for alert in alerts)


class TestErasures:
    def test_an_overdue_erasure_is_told_by_its_age(self, workspace: Workspace) -> None:
        """Longer than ERASURE_MAX_AGE_HOURS: the age of the oldest, neither number nor name; applied, it is over."""
        for hours, user in ((24, b"person-b"), (30, b"person-a")):
            request_erasure(workspace, [user, b"x"], through=TODAY, now=NOW - timedelta(hours=hours))
        (alert,) = find_alerts(workspace)
        assert alert == Alert(
            AlertKind.ERASURE_OVERDUE,
            "an erasure request has been pending for 30 hours, longer than ERASURE_MAX_AGE_HOURS (24)",
            "dpdau flush-deletes; runbook: An erasure is stuck",
        )
        flush_deletes(workspace)
        assert find_alerts(workspace) == []

    def test_alert_and_status_agree_on_what_is_overdue(self, workspace: Workspace) -> None:
        """A minute longer than ERASURE_MAX_AGE_HOURS is overdue for both, a minute less for neither."""
        request_erasure(workspace, [b"x"], through=TODAY, now=NOW - timedelta(hours=23, minutes=59))
        for minutes, is_overdue in ((0, False), (2, True)):
            later = _reopened(workspace, now=NOW + timedelta(minutes=minutes))
            assert bool(find_alerts(later)) is is_overdue
            assert report_status(later)["pending_erasures"]["is_overdue"] is is_overdue

    def test_a_pending_one_within_its_time_is_none(self, workspace: Workspace) -> None:
        """An erasure of an hour ago waits for its run."""
        request_erasure(workspace, [b"person-a"], through=TODAY, now=NOW - timedelta(hours=1))
        assert find_alerts(workspace) == []


class TestRejectedRows:
    def _stage(self, workspace: Workspace, name: str, *, bad: int) -> None:
        rows = ["user_id,day", *(f"person-{number},2026-05-10" for number in range(200 - bad)), *["x,never"] * bad]
        inbox = workspace.lake.root / "inbox"
        inbox.mkdir(exist_ok=True)
        (inbox / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        stage_inbox(workspace, [name])

    def test_the_worst_source_of_the_last_day_is_told_by_its_share(self, workspace: Workspace) -> None:
        """In whole percent, above QUARANTINE_MAX_RATE, however good the others; after a day it is over."""
        self._stage(workspace, "fine.csv", bad=2)
        assert find_alerts(workspace) == []
        self._stage(workspace, "bad.csv", bad=7)
        (alert,) = find_alerts(workspace)
        assert alert.key == "rejected_rows"
        assert "about 4% of the rows" in alert.text
        assert "(1.00%)" in alert.text
        assert "person" not in _text([alert]) and "bad.csv" not in _text([alert]) and " 7 " not in _text([alert])
        assert find_alerts(_reopened(workspace, now=NOW + timedelta(hours=25))) == []


class TestReleases:
    def test_days_that_nobody_released_are_told_a_day_after_their_close(self, workspace: Workspace) -> None:
        """The nightly schedule has come by and they are still missing; released, it is over."""
        workspace = _reopened(workspace, mechanism="gaussian", series_start=date(2026, 5, 9))
        (alert,) = find_alerts(workspace)
        assert alert.key == "releases_late"
        assert "2026-05-09..2026-05-09" in alert.text
        publish_releases(workspace, METRICS, DayRange.single(date(2026, 5, 9)))
        assert find_alerts(workspace) == []

    def test_a_month_without_budget_is_told_by_metric(self, workspace: Workspace) -> None:
        """A metric whose cap refuses is exhausted, not late; after 31 days it is a matter of the past."""
        settings = {"mechanism": "gaussian", "series_start": date(2026, 5, 9), "series_end": date(2026, 5, 9)}
        workspace = _reopened(workspace, dau_budget_total=0.01, **settings)
        publish_releases(workspace, ("wau", "mau"), DayRange.single(date(2026, 5, 9)))
        (alert,) = find_alerts(workspace)
        assert alert.key == "budget_exhausted dau 2026-05"
        assert "dpdau budget dau --month 2026-05" in alert.hint
        later = _reopened(workspace, now=NOW + timedelta(days=40), dau_budget_total=0.01, **settings)
        assert find_alerts(later) == []
