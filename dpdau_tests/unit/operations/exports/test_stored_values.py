"""Stored values: the latest revision, read without releasing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.exports.stored_values import stored_value, stored_values
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, charges_of, open_folder

SECOND = date(2025, 1, 2)


class TestStoredValues:
    def test_the_latest_revision_is_read(self, tmp_path: Path) -> None:
        """A revised value is the one that is found; of a day that is not released there is none, and none is made."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        revised = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR), revise=True, reason="late data")
        charges = charges_of(workspace)
        assert stored_value(workspace, "dau", NEW_YEAR) == revised.results[0]
        assert stored_value(workspace, "dau", SECOND) is None
        assert stored_value(workspace, "mau", NEW_YEAR) is None
        assert charges_of(workspace) == charges

    def test_a_range_and_a_metric_limit_the_list(self, tmp_path: Path) -> None:
        """By day and metric; both ends of a range belong to it."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, METRICS, DayRange(NEW_YEAR, date(2025, 1, 3)))
        assert [(value.metric, value.day.day) for value in stored_values(workspace, first=SECOND)] == [
            (metric, day) for day in (2, 3) for metric in sorted(METRICS)
        ]
        assert [value.day.day for value in stored_values(workspace, metric="wau", last=SECOND)] == [1, 2]
