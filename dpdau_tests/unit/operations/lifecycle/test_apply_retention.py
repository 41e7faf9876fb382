"""Retention on a small folder: what is past it is gone, what is not is as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_tests.support.workspaces import files_holding, key_files, new_workspace, stage_activity

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
KEPT = 60
FLOOR = NOW.date() - timedelta(days=KEPT)
BEFORE = FLOOR - timedelta(days=1)
LONG_BEFORE = FLOOR - timedelta(days=90)


class TestApplyRetention:
    def test_days_before_the_floor_go_and_the_others_stay(self, tmp_path: Path) -> None:
        """Raw events, staged files and epoch secrets of earlier days go; the floor's own day keeps its bytes."""
        workspace = new_workspace(
            tmp_path / "data", now=NOW, retention_days=KEPT, mau_window_days=8, hash_salt_rotation_days=10
        )
        stage_activity(workspace, [("a", BEFORE), ("b", BEFORE), ("a", FLOOR)])
        fold(workspace, DayRange(BEFORE, FLOOR))
        stage_activity(workspace, [("b", LONG_BEFORE), ("c", FLOOR)])
        before = key_files(workspace)
        kept = {name: content for name, content in before.items() if f"day={FLOOR}" in name}
        assert 0 < len(kept) < len(before)
        lowest = workspace.salts.lowest_epoch
        done = apply_retention(workspace)
        assert key_files(workspace) == kept
        assert done.held_from == FLOOR
        assert done.lowest_epoch == workspace.salts.lowest_epoch > lowest
        assert apply_retention(workspace) == done

    def test_without_a_setting_nothing_goes(self, tmp_path: Path) -> None:
        """RETENTION_DAYS unset keeps every day, however old."""
        workspace = new_workspace(tmp_path / "data", now=NOW)
        stage_activity(workspace, [("b", date(2001, 1, 1))])
        before = key_files(workspace)
        assert apply_retention(workspace).held_from is None
        assert key_files(workspace) == before
        assert files_holding(workspace, "b", first=date(2001, 1, 1), last=date(2001, 1, 1))
