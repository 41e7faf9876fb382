"""Daily sketches: a summary of each day's live users."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.daily_sketches import build_sketches, read_sketch
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

FIRST, SECOND, EMPTY = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
DAYS = DayRange(FIRST, EMPTY)
USERS = [f"user-{number}" for number in range(40)]


def is_sketch_of(workspace: Workspace, day: date, users: list[str]) -> bool:
    """Whether the stored sketches of a day are those of these users, under each of its epochs."""
    plan = sketch_plan(workspace.settings)
    with lake_session(workspace, DAYS) as session:
        for epoch in workspace.salts.calendar.keyed_epochs(day, workspace.settings.mau_window_days):
            keys = user_keys(workspace.salts.epoch_key(epoch), sorted(user.encode() for user in users))
            keys.sort()
            stored = read_sketch(session, day, epoch=epoch)
            if stored is None or stored.to_bytes() != plan.from_keys(keys).to_bytes():
                return False
    return True


class TestBuildSketches:
    def test_a_sketch_is_that_of_the_live_users(self, tmp_path: Path) -> None:
        """Each day's sketch is made of its users less the erased; changed days are told, a repeat changes none."""
        workspace = new_workspace(tmp_path / "data", sketch_impl="kmv", sketch_k=16)
        stage_activity(workspace, [*((user, FIRST) for user in USERS), *((user, SECOND) for user in USERS[:9])])
        assert build_sketches(workspace, DAYS) == {FIRST, SECOND}
        assert is_sketch_of(workspace, FIRST, USERS)
        assert build_sketches(workspace, DAYS) == set()
        request_erasure(workspace, [USERS[0].encode()], through=SECOND, now=LONG_AFTER)
        build_sketches(workspace, DAYS)
        assert is_sketch_of(workspace, FIRST, USERS[1:])
        assert is_sketch_of(workspace, SECOND, USERS[1:9])

    def test_a_day_without_users_has_none(self, tmp_path: Path) -> None:
        """An empty day is built and has no sketch."""
        workspace = new_workspace(tmp_path / "data", sketch_impl="kmv", sketch_k=16)
        build_sketches(workspace, DAYS)
        with lake_session(workspace, DAYS) as session:
            assert session.partition("daily_sketches", EMPTY) is not None
            assert read_sketch(session, EMPTY, epoch=workspace.salts.calendar.epoch_of(EMPTY)) is None
