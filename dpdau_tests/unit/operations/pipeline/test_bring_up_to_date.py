"""The chain from staged files to unions, at one snapshot."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import Built, Through, bring_up_to_date
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, digests, new_workspace, stage_activity

LAST = date(2026, 3, 20)
DAY = LAST - timedelta(days=3)
OUTSIDE = LAST - timedelta(days=10)
DAYS = DayRange.single(LAST)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with activity in the windows that end on the day, and before them."""
    workspace = new_workspace(tmp_path / "data", mau_window_days=8, sketch_k=16)
    stage_activity(workspace, [("a", DAY), ("b", LAST), ("a", OUTSIDE)])
    return workspace


class TestBringUpToDate:
    def test_every_day_of_the_windows_and_no_other_is_built(self, workspace: Workspace) -> None:
        """What changed is told by step; days before the windows stay staged, and a repeat changes nothing."""
        built = bring_up_to_date(workspace, DAYS)
        assert (built.raw_events, built.live_users, built.sketches) == (frozenset({DAY, LAST}),) * 3
        assert built.unions == {LAST}
        assert not any(day == OUTSIDE for _, day in digests(workspace))
        assert bring_up_to_date(workspace, DAYS) == Built()

    @pytest.mark.parametrize(
        ("through", "assets"),
        [
            ("live_users", {"raw_events", "erasure_replay"}),
            ("sketches", {"raw_events", "erasure_replay", "daily_sketches"}),
        ],
    )
    def test_it_stops_where_it_is_told_to(self, workspace: Workspace, through: Through, assets: set[str]) -> None:
        """The steps after the last one asked for are not taken."""
        bring_up_to_date(workspace, DAYS, through=through)
        assert {asset for asset, _ in digests(workspace)} == assets

    def test_an_erasure_that_is_reached_is_completed(self, workspace: Workspace) -> None:
        """A request is completed as soon as every partition has applied it and nothing is staged."""
        request_erasure(workspace, [b"a"], through=LAST, now=LONG_AFTER)
        bring_up_to_date(workspace, DAYS)
        assert erasure_status(workspace)[0]["completed_at"] is None  # a day outside is staged
        bring_up_to_date(workspace, DayRange(OUTSIDE, LAST))
        assert erasure_status(workspace)[0]["completed_at"] is not None
