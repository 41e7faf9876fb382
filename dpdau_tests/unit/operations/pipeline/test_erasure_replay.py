"""Replay: erased pseudonyms leave every file, and requests are completed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.pipeline.daily_sketches import build_sketches
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes, replay_erasures
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, files_holding, new_workspace, stage_activity

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
BUILT = DayRange(FIRST, SECOND)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two built days and a staged one; `gone` is on all of them and is erased."""
    workspace = new_workspace(tmp_path / "data", sketch_k=16)
    stage_activity(workspace, [(user, day) for user in ("gone", "a") for day in BUILT])
    build_sketches(workspace, BUILT)
    stage_activity(workspace, [("gone", THIRD), ("a", THIRD)])
    request_erasure(workspace, [b"gone"], through=THIRD, now=LONG_AFTER)
    return workspace


def holding(workspace: Workspace) -> set[str]:
    """The places below the data folder where the erased user is found."""
    files = files_holding(workspace, "gone", first=FIRST, last=THIRD)
    return {name.removeprefix("lake/").split("/")[0] for name in files}


class TestReplay:
    def test_the_erased_leave_the_days_asked_for(self, workspace: Workspace) -> None:
        """Raw events and live users of those days lose them and are told; the request stays open."""
        assert {"raw_events", "erasure_replay", "staging"} <= holding(workspace)
        assert replay_erasures(workspace, BUILT) == {FIRST, SECOND}
        assert not {"raw_events", "erasure_replay"} & holding(workspace)
        assert [one["completed_at"] for one in erasure_status(workspace)] == [None]
        assert replay_erasures(workspace, BUILT) == set()


class TestFlush:
    def test_the_erased_leave_every_file_and_the_request_is_complete(self, workspace: Workspace) -> None:
        """Staged files and sketches too; one request is completed, and a second flush has none."""
        assert flush_deletes(workspace) == 1
        assert holding(workspace) == set()
        assert erasure_status(workspace)[0]["completed_at"] is not None
        assert flush_deletes(workspace) == 0
