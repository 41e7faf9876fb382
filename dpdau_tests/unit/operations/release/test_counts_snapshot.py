"""The counts of a release: one state of everything accepted, whatever was built before."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, add_activity, add_erasure, everybody, open_folder

THIRD = NEW_YEAR + timedelta(days=2)


def counted(workspace: Workspace, day: date = THIRD) -> list[int]:
    """The exact DAU, WAU and MAU of a day."""
    counts = snapshot_counts(workspace, [day], METRICS)
    return [counts.below(metric, day) for metric in METRICS]


class TestSnapshotCounts:
    def test_windows_hold_whoever_was_active_on_any_day_of_them(self, tmp_path: Path) -> None:
        """A user of several days counts once; a day without users counts none, and its windows those before."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, {NEW_YEAR: ["a", "b"], THIRD: ["b", "c", "d"]})
        assert counted(workspace) == [3, 4, 4]
        assert counted(workspace, NEW_YEAR + timedelta(days=1)) == [0, 2, 2]
        assert counted(workspace, NEW_YEAR + timedelta(days=8)) == [0, 3, 4]

    def test_what_was_built_before_decides_nothing(self, tmp_path: Path) -> None:
        """Late events and a pending erasure count the same over partitions built before them and over none."""
        built, fresh = (open_folder(tmp_path / name) for name in ("built", "fresh"))
        for workspace in (built, fresh):
            add_activity(workspace, everybody(5, days=3))
        bring_up_to_date(built, DayRange(NEW_YEAR, THIRD))
        for workspace in (built, fresh):
            add_activity(workspace, {NEW_YEAR: ["late"]})
            add_erasure(workspace, ["user-1"], through=THIRD)
        assert counted(built) == counted(fresh) == [4, 5, 5]

    def test_an_open_day_is_never_counted(self, tmp_path: Path) -> None:
        """A day that is not closed yet is a fault of the caller, who has to refuse it before."""
        with pytest.raises(InternalError, match="still open"):
            snapshot_counts(open_folder(tmp_path), [NOW.date()], METRICS)
