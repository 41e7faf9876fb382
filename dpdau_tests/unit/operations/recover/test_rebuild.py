"""Rebuilding: the same bytes again, from raw events that have been checked."""

from __future__ import annotations

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.pipeline.bring_up_to_date import Built
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_tests.support.verified_folders import flip
from dpdau_tests.support.workspaces import key_files
from dpdau_tests.unit.operations.recover.damaged_folders import DAYS, MIDDLE, file_of


class TestRebuild:
    def test_what_is_right_stays(self, workspace: Workspace) -> None:
        """A rebuild of a folder in which nothing is wrong says that nothing changed, and changes no byte."""
        before = key_files(workspace)
        assert rebuild(workspace, DAYS) == Built()
        assert key_files(workspace) == before

    @pytest.mark.parametrize("asset", ["raw_events", "erasure_replay", "mau_unions"])
    def test_a_damaged_file_comes_back(self, workspace: Workspace, asset: str) -> None:
        """The bytes of a file that is made again, or of raw events whose live users are intact, are as before."""
        before = key_files(workspace)
        flip(file_of(workspace, asset))
        (workspace.lake.root / "lake" / "raw_events" / f"day={MIDDLE}" / "e99.parquet").write_bytes(b"nobody's")
        rebuild(workspace, DAYS)
        assert key_files(workspace) == before
        assert verify(workspace).ok

    def test_lost_raw_events_are_given_up_only_when_asked(self, workspace: Workspace) -> None:
        """Without live users to take them from, a rebuild refuses; one that accepts the loss goes on without them."""
        flip(file_of(workspace, "raw_events"))
        flip(file_of(workspace, "erasure_replay"))
        with pytest.raises(DataError):
            rebuild(workspace, DAYS)
        built = rebuild(workspace, DayRange.single(MIDDLE), accept_loss=True)
        assert built.live_users == {MIDDLE}
        assert verify(workspace).ok
