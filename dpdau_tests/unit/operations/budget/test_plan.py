"""A plan of a month: what releases then do, told without writing anything."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.budget.plan import plan_releases
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, charges_of, open_folder

SERIES_END = date(2025, 1, 4)


class TestPlanReleases:
    def test_what_is_funded_is_what_is_then_released(self, tmp_path: Path) -> None:
        """The plan names the number of releases under every cap, and the first day that none is left for."""
        workspace = open_folder(tmp_path, mechanism="laplace", series_end=SERIES_END, total_budget_month=1.6)
        plans = plan_releases(workspace, workspace.settings, period="2025-01")
        assert charges_of(workspace) == []
        assert [plan.metric for plan in plans] == list(METRICS)
        assert [plan.releases_planned for plan in plans] == [4, 4, 4]
        published = publish_releases(workspace, METRICS, DayRange(NEW_YEAR, SERIES_END))
        for plan in plans:
            assert plan.releases_funded == sum(result.metric == plan.metric for result in published.results)
            refused = [refusal for refusal in published.refused if refusal.metric == plan.metric]
            assert (plan.runs_out_on, plan.refused_by) == (refused[0].day, refused[0].scope)

    def test_only_the_metrics_asked_for_are_told(self, tmp_path: Path) -> None:
        """The plan of one metric is the one that it has among all three."""
        workspace = open_folder(tmp_path, mechanism="laplace", series_end=SERIES_END)
        plans = plan_releases(workspace, workspace.settings, period="2025-01")
        assert plan_releases(workspace, workspace.settings, ("wau",), period="2025-01") == [plans[1]]
