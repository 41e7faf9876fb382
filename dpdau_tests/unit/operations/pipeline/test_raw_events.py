"""Fold: the staged files of closed days become raw events."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import key_files, new_workspace, stage_activity

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
FIRST, SECOND, OPEN = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)
DAYS = DayRange(FIRST, OPEN)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty folder with one epoch."""
    return new_workspace(tmp_path / "data", now=NOW, hash_salt_rotation_days=4000)


def raw_events(workspace: Workspace, day: date) -> set[int]:
    epoch = workspace.salts.calendar.epoch_of(day)
    with lake_session(workspace, DAYS) as session:
        path = workspace.lake.partition_path("raw_events", day, epoch=epoch)
        return set(session.read(path, session.files("raw_events", day)[str(epoch)]).tolist())


def keys(workspace: Workspace, *users: bytes) -> set[int]:
    epoch = workspace.salts.calendar.epoch_of(FIRST)
    return set(user_keys(workspace.salts.epoch_key(epoch), list(users)).tolist())


class TestFold:
    def test_a_day_is_the_union_of_its_batches_less_the_erased(self, workspace: Workspace) -> None:
        """Batches unite, an erased user leaves, a repeat changes no day, and an open day stays staged."""
        stage_activity(workspace, [("a", FIRST), ("b", FIRST), ("a", OPEN)])
        stage_activity(workspace, [("b", FIRST), ("c", FIRST), ("a", SECOND)])
        request_erasure(workspace, [b"c"], through=SECOND, now=NOW)
        assert fold(workspace, DAYS) == {FIRST, SECOND}
        assert raw_events(workspace, FIRST) == keys(workspace, b"a", b"b")
        assert raw_events(workspace, SECOND) == keys(workspace, b"a")
        assert [name for name in key_files(workspace) if f"day={OPEN}" in name and name.startswith("staging/")]
        assert fold(workspace, DAYS) == set()

    def test_a_later_batch_joins_a_folded_day(self, workspace: Workspace) -> None:
        """Late activity is added to what the day holds; only that day is told as changed."""
        stage_activity(workspace, [("a", FIRST), ("a", SECOND)])
        fold(workspace, DAYS)
        stage_activity(workspace, [("b", FIRST), ("a", SECOND)])
        assert fold(workspace, DAYS) == {FIRST}
        assert raw_events(workspace, FIRST) == keys(workspace, b"a", b"b")

    def test_a_damaged_staged_file_is_refused(self, workspace: Workspace) -> None:
        """A staged file that is not the recorded one stops the fold before anything is written."""
        stage_activity(workspace, [("a", FIRST)])
        (name,) = key_files(workspace)
        (workspace.lake.root / name).write_bytes(b"damaged")
        with pytest.raises(DataError):
            fold(workspace, DAYS)
        assert list(key_files(workspace)) == [name]
