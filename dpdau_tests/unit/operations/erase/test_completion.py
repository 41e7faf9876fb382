"""When an erasure request is complete."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.operations.erase.completion import complete_if_reached, complete_in_session
from dpdau_assets.operations.erase.live_users import clean_staged_in_session
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

DAY = date(2026, 3, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with two requests and no activity."""
    workspace = new_workspace(tmp_path / "data")
    for user in (b"a", b"b"):
        request_erasure(workspace, [user], through=DAY, now=LONG_AFTER)
    return workspace


def completed(workspace: Workspace) -> list[bool]:
    return [one["completed_at"] is not None for one in erasure_status(workspace)]


class TestCompletion:
    def test_the_requests_of_the_cut_are_completed_once(self, workspace: Workspace) -> None:
        """Every open request of the snapshot is marked and counted; a repeat has none to mark."""
        with lake_session(workspace, None) as session:
            assert complete_in_session(session) == 2
            assert completed(workspace) == [True, True]
            assert complete_in_session(session) == 0

    def test_a_request_made_after_the_cut_stays_open(self, workspace: Workspace) -> None:
        """A session completes what it knows of, and nothing that was asked for since."""
        with lake_session(workspace, None) as session:
            request_erasure(workspace, [b"c"], through=DAY, now=LONG_AFTER)
            assert complete_in_session(session) == 2
        assert completed(workspace) == [False, True, True]

    def test_nothing_is_complete_while_activity_is_staged(self, workspace: Workspace) -> None:
        """Staged files may hold the erased still; without any, and with no partition behind, requests are complete."""
        stage_activity(workspace, [("a", DAY), ("somebody", DAY)])
        with lake_session(workspace, None) as session:
            clean_staged_in_session(session)
            assert complete_if_reached(session) == 0
        assert completed(workspace) == [False, False]

    def test_what_is_reached_is_completed(self, workspace: Workspace) -> None:
        """A folder without partitions and staged files has nothing to apply."""
        with lake_session(workspace, None) as session:
            assert complete_if_reached(session) == 2
