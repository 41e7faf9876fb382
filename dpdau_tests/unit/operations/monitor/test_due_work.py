"""What is still to be done and what has been done, as the ledger tells it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.monitor.due_work import (
    changed_partitions,
    due_releases,
    newest_numbers,
    pending_erasures,
    releases_made,
    staged_days,
)
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

FIRST = date(2026, 5, 1)
DAYS = DayRange(FIRST, FIRST + timedelta(days=2))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Three staged days of a series."""
    made = new_workspace(tmp_path / "data", series_start=FIRST, mau_window_days=8, sketch_impl="set")
    stage_activity(made, [("a", day) for day in DAYS])
    return made


class TestPendingErasures:
    def test_the_days_are_all_that_are_held_up_to_the_last_erased(self, workspace: Workspace) -> None:
        """A request concerns every held day up to its last, whether or not its user was active on any."""
        assert pending_erasures(workspace) is None
        request_erasure(workspace, [b"nobody"], through=DAYS.first + timedelta(days=1), now=LONG_AFTER)
        found = pending_erasures(workspace)
        assert found is not None and found.days == DayRange(DAYS.first, DAYS.first + timedelta(days=1))
        flush_deletes(workspace)
        assert pending_erasures(workspace) is None

    def test_a_request_of_days_before_all_data_names_none(self, workspace: Workspace) -> None:
        """A request may be pending although no day that is held concerns it."""
        request_erasure(workspace, [b"a"], through=FIRST - timedelta(days=1), now=LONG_AFTER)
        found = pending_erasures(workspace)
        assert found is not None and found.days is None


class TestStagedDays:
    def test_days_are_staged_until_they_are_folded(self, workspace: Workspace) -> None:
        """Staged days are listed in order, and none is left once they are built."""
        found = staged_days(workspace)
        assert found is not None and found.days == tuple(DAYS)
        bring_up_to_date(workspace, DAYS)
        assert staged_days(workspace) is None


class TestChangedPartitions:
    def test_changes_are_numbered_and_told_once(self, workspace: Workspace) -> None:
        """Those above the last number seen are told newest first; up to the newest number nothing is told twice."""
        before = newest_numbers(workspace).version
        bring_up_to_date(workspace, DAYS)
        newest = newest_numbers(workspace).version
        found = changed_partitions(workspace, above=before, upto=newest, limit=1000)
        versions = [one.version for one in found]
        assert versions == sorted(versions, reverse=True) and versions[0] == newest
        assert {one.day for one in found if one.asset == "mau_unions"} == set(DAYS)
        assert changed_partitions(workspace, above=before, upto=newest, limit=2) == found[:2]
        assert changed_partitions(workspace, above=newest, upto=newest, limit=1000) == []


class TestReleases:
    def test_what_is_due_depends_on_calendar_and_budget_only(self, workspace: Workspace, tmp_path: Path) -> None:
        """A folder without any data owes the same releases; what is released is not due any more but made."""
        empty = new_workspace(tmp_path / "empty", series_start=FIRST, mau_window_days=8, sketch_impl="set")
        assert due_releases(workspace, DAYS) == due_releases(empty, DAYS)
        assert due_releases(workspace, DAYS).days == tuple(DAYS)
        publish_releases(workspace, METRICS, DayRange.single(FIRST))
        assert due_releases(workspace, DAYS).days == tuple(DAYS)[1:]
        made = releases_made(workspace, above=0, upto=newest_numbers(workspace).charge, limit=10)
        assert [(one.body["metric"], one.body["day"]) for one in made] == [
            (metric, FIRST.isoformat()) for metric in reversed(METRICS)
        ]
