"""Publishing: each value drawn once and charged once, a refused day for nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, charges_of, everybody, open_folder

WEEK = DayRange(NEW_YEAR, date(2025, 1, 7))


class TestPublishReleases:
    def test_a_value_is_drawn_once_and_stays(self, tmp_path: Path) -> None:
        """The same question again gives the stored values, charges nothing and draws nothing."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(30, days=7))
        first = publish_releases(workspace, METRICS, WEEK)
        charges = charges_of(workspace)
        again = publish_releases(workspace, METRICS, WEEK)
        assert [(one.day, one.metric) for one in first.results] == [(day, metric) for day in WEEK for metric in METRICS]
        assert first.newly_released == tuple((metric, day) for day in WEEK for metric in METRICS)
        assert (again.results, again.newly_released, charges_of(workspace)) == (first.results, (), charges)

    def test_a_refused_day_charges_nothing(self, tmp_path: Path) -> None:
        """The days that fit are charged once each, those that do not are refused by their cap, without a charge."""
        workspace = open_folder(tmp_path, mechanism="laplace", total_budget_month=1.25)
        published = publish_releases(workspace, ("dau",), WEEK)
        assert [one.day for one in published.results] == list(WEEK)[:4]
        assert [(one.day, one.scope) for one in published.refused] == [(day, "month") for day in list(WEEK)[4:]]
        assert charges_of(workspace) == [("dau", day, "release") for day in list(WEEK)[:4]]
        assert {one.next_funded_day for one in published.refused} == {date(2025, 2, 1)}
