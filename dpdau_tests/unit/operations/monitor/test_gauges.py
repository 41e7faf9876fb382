"""Gauges: days reached, releases made, erasures that wait."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.monitor.gauges import read_gauges
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, add_activity, add_erasure, everybody, open_folder

SECOND = date(2025, 1, 2)


class TestReadGauges:
    def test_an_empty_folder_has_reached_nothing(self, tmp_path: Path) -> None:
        """The calendar goes on all the same."""
        gauges = read_gauges(open_folder(tmp_path))
        assert (gauges.today, gauges.closed_day) == (date(2025, 12, 1), date(2025, 11, 30))
        assert gauges.built_day is None and set(gauges.released_day.values()) == {None}
        assert (gauges.erasures_pending, gauges.oldest_erasure_seconds) == (0, 0.0)

    def test_releases_and_builds_are_seen(self, tmp_path: Path) -> None:
        """Each metric has its own number of released days."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(5, days=2))
        publish_releases(workspace, ("dau", "wau"), DayRange.single(NEW_YEAR))
        publish_releases(workspace, ("dau",), DayRange.single(SECOND))
        gauges = read_gauges(workspace)
        assert gauges.released_day == {"dau": SECOND, "wau": NEW_YEAR, "mau": None}
        assert gauges.released_days == {"dau": 2, "wau": 1, "mau": 0}
        assert gauges.built_day == SECOND

    def test_the_oldest_erasure_counts(self, tmp_path: Path) -> None:
        """Two requests wait; the age is that of the first."""
        workspace = open_folder(tmp_path)
        add_erasure(workspace, ["a"], through=NEW_YEAR)
        later = open_folder(tmp_path, now=NOW + timedelta(hours=3))
        add_erasure(later, ["b"], through=NEW_YEAR)
        gauges = read_gauges(open_folder(tmp_path, now=NOW + timedelta(hours=4)))
        assert (gauges.erasures_pending, gauges.oldest_erasure_seconds) == (2, 4 * 3600.0)
