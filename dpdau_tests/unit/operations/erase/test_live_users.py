"""Erased pseudonyms leave staged files and raw events; what remains are the live users."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.live_users import clean_staged_in_session, replay_in_session
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, files_holding, key_files, new_workspace, stage_activity

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
DAYS = DayRange(FIRST, THIRD)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Three staged days: `gone` on the first two, `a` on the last two."""
    workspace = new_workspace(tmp_path / "data", hash_salt_rotation_days=4000)
    stage_activity(workspace, [("gone", FIRST), ("gone", SECOND), ("a", SECOND), ("a", THIRD)])
    return workspace


def erase(workspace: Workspace, *, through: date) -> None:
    request_erasure(workspace, [b"gone"], through=through, now=LONG_AFTER)


def users(session: LakeSession, day: date) -> int:
    epoch = session.workspace.salts.calendar.epoch_of(day)
    return sum(session.read_live(day, epoch, path).size for path in session.live_files(day, epoch))


class TestReplay:
    def test_the_erased_leave_raw_events_and_the_rest_are_live(self, workspace: Workspace) -> None:
        """The first replay makes live users of what is not erased; a repeat at the same snapshot changes no day."""
        fold(workspace, DAYS)
        erase(workspace, through=SECOND)
        with lake_session(workspace, DAYS) as session:
            assert replay_in_session(session, DAYS) == {SECOND, THIRD}  # nobody is left on the first day
            assert [users(session, day) for day in DAYS] == [0, 1, 1]
            assert replay_in_session(session, DAYS) == set()
        assert files_holding(workspace, "gone", first=FIRST, last=THIRD) == []

    def test_days_after_the_last_erased_one_keep_the_user(self, workspace: Workspace) -> None:
        """An erasure through the first day leaves the second as it was; only the first is told as changed."""
        fold(workspace, DAYS)
        with lake_session(workspace, DAYS) as session:
            assert replay_in_session(session, DAYS) == {FIRST, SECOND, THIRD}
        erase(workspace, through=FIRST)
        with lake_session(workspace, DAYS) as session:
            assert replay_in_session(session, DAYS) == {FIRST}
            assert [users(session, day) for day in DAYS] == [0, 2, 1]


class TestStagedFiles:
    def test_the_erased_leave_staged_files(self, workspace: Workspace) -> None:
        """A staged file is rewritten without them, and goes when nobody else is in it."""
        erase(workspace, through=SECOND)
        assert len(key_files(workspace)) == 3
        with lake_session(workspace, DAYS) as session:
            clean_staged_in_session(session)
        assert files_holding(workspace, "gone", first=FIRST, last=THIRD) == []
        assert {name.split("/")[1] for name in key_files(workspace)} == {f"day={SECOND}", f"day={THIRD}"}
