"""The budget under earlier names: the same facts, said again."""

from __future__ import annotations

from pathlib import Path

from dpdau_assets.core.quantities import DayRange, days_of_period
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.budget.earlier_names import earlier_names
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.snapshot import snapshot
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, open_folder

LAST = days_of_period("2025-01").last


class TestEarlierNames:
    def test_they_agree_with_the_bounds(self, tmp_path: Path) -> None:
        """best_rdp_epsilon is the smallest of the curve and the bound `rdp`, also over accounts before a reset."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        reset_budget(workspace, "dau", "2025-01", "approved by the board")
        publish_releases(workspace, ("dau",), DayRange(NEW_YEAR, LAST))
        book = BudgetBook(workspace.ledger, workspace.settings)
        stated = snapshot(book, workspace, "dau", LAST)
        named = earlier_names(book, workspace, "dau", stated)
        rdp, advanced = stated.bounds["rdp"], stated.bounds["advanced"]
        assert rdp is not None and rdp.epsilon > stated.epsilon_cap
        assert named["best_rdp_epsilon"] == rdp.epsilon == min(point["epsilon"] for point in named["rdp_curve"])
        assert named["rdp_orders"] == [point["order"] for point in named["rdp_curve"]] == [2, 4, 8, 16, 32]
        assert (named["advanced_epsilon"], named["advanced_delta"]) == (
            (advanced.epsilon, advanced.delta) if advanced else (None, None)
        )

    def test_the_policy_names_the_caps(self, tmp_path: Path) -> None:
        """The caps are those in force, and the noise is the account's."""
        workspace = open_folder(tmp_path, mechanism="gaussian", total_budget_month=5.0)
        book = BudgetBook(workspace.ledger, workspace.settings)
        policy = earlier_names(book, workspace, "mau", snapshot(book, workspace, "mau", LAST))["policy"]
        assert (policy["mechanism"], policy["epsilon_cap"], policy["month_cap"]) == ("gaussian", 3.5, 5.0)
