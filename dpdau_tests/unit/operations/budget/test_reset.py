"""Resets: a further account for a month, under the same totals."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import InputError, UsageError
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, charges_of, open_folder

TEN_DAYS = DayRange(NEW_YEAR, date(2025, 1, 10))
ELEVENTH = DayRange.single(date(2025, 1, 11))


class TestResetBudget:
    def test_a_reset_opens_a_further_account_and_hides_nothing(self, tmp_path: Path) -> None:
        """A spent metric can be released again; the composed loss grows and `resets` counts."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        assert len(publish_releases(workspace, ("dau",), JANUARY).results) == 10
        spent = report_budget(workspace, "dau", "2025-01").epsilon_spent
        reset_budget(workspace, "dau", "2025-01", "approved by the board")
        fresh = report_budget(workspace, "dau", "2025-01")
        assert (fresh.resets, fresh.epsilon_remaining, fresh.epsilon_spent) == (1, 3.0, spent)
        body = publish_releases(workspace, ("dau",), ELEVENTH).bodies[0]
        assert body["budget"]["resets"] == 1
        assert body["budget"]["epsilon_spent"] > spent
        assert body["budget_remaining"] == pytest.approx(2.7, abs=0.01)
        assert body["budget"]["release_count"] == 11

    def test_the_totals_still_hold(self, tmp_path: Path) -> None:
        """No reset lets a month exceed TOTAL_BUDGET_MONTH."""
        workspace = open_folder(tmp_path, mechanism="laplace", total_budget_month=3.0)
        publish_releases(workspace, ("dau",), JANUARY)
        reset_budget(workspace, "dau", "2025-01", "approved")
        refused = publish_releases(workspace, ("dau",), JANUARY).refused
        assert {refusal.scope for refusal in refused} == {"month"}
        assert len(charges_of(workspace)) == 10

    def test_raising_a_total_or_delta_in_mid_month_raises_nothing(self, tmp_path: Path) -> None:
        """The month's first account freezes the totals and their delta; larger settings start next month."""
        tight = {"mechanism": "laplace", "epsilon_dau": 1.0, "total_budget_month": 2.0, "total_budget_365d": 4.0}
        publish_releases(open_folder(tmp_path, **tight), ("dau",), TEN_DAYS)
        loose = {"total_budget_month": 50.0, "total_budget_365d": 50.0, "delta": 0.05, "advanced_delta": 0.005}
        raised = open_folder(tmp_path, **{**tight, **loose})
        reset_budget(raised, "dau", "2025-01", "approved in the meeting of the board")
        refused = publish_releases(raised, ("dau",), TEN_DAYS).refused
        assert len(refused) == 8
        assert {(one.scope, one.epsilon_cap, one.delta) for one in refused} == {("month", 2.0, 1e-6)}
        february = publish_releases(raised, ("dau",), DayRange(date(2025, 2, 1), date(2025, 2, 3)))
        assert len(february.results) == 3

    def test_the_new_account_takes_the_present_settings(self, tmp_path: Path) -> None:
        """Mechanism and cap are frozen per account, so a reset is where a change may begin within a month."""
        publish_releases(open_folder(tmp_path), ("dau",), DayRange.single(NEW_YEAR))
        changed = open_folder(tmp_path, mechanism="laplace")
        reset_budget(changed, "dau", "2025-01", "change of mechanism")
        result = publish_releases(changed, ("dau",), DayRange.single(date(2025, 1, 2))).results[0]
        assert result.mechanism == "laplace"

    def test_all_metrics_at_once(self, tmp_path: Path) -> None:
        """None resets every metric that spent anything, and no other."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau", "mau"), DayRange.single(NEW_YEAR))
        made = reset_budget(workspace, None, "2025-01", "approved")
        assert [(reset.metric, reset.generation) for reset in made] == [("dau", 2), ("mau", 2)]
        assert report_budget(workspace, "wau", "2025-01").resets == 0

    def test_nothing_spent_is_nothing_to_reset(self, tmp_path: Path) -> None:
        """An untouched account is not reset, also right after a reset: repeating the command opens nothing."""
        workspace = open_folder(tmp_path)
        with pytest.raises(InputError, match="untouched"):
            reset_budget(workspace, "dau", "2025-01", "approved")
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        reset_budget(workspace, "dau", "2025-01", "approved")
        with pytest.raises(InputError, match="untouched"):
            reset_budget(workspace, "dau", "2025-01", "approved again")

    def test_it_needs_a_reason_and_a_month(self, tmp_path: Path) -> None:
        """Neither an unexplained reset nor one of no month is recorded."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        with pytest.raises(UsageError, match="reason"):
            reset_budget(workspace, "dau", "2025-01", " ")
        with pytest.raises(UsageError, match="month"):
            reset_budget(workspace, "dau", "January", "approved")
        assert report_budget(workspace, "dau", "2025-01").resets == 0
