"""The budget document, over a real ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.cli.commands.budget import budget_text
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import UsageError
from dpdau_assets.operations.budget.snapshot import report_budget, spent_after
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, open_folder

KEYS = [
    "metric",
    "period",
    "epsilon_cap",
    "epsilon_spent",
    "epsilon_remaining",
    "budget_remaining",
    "delta",
    "bounds",
    "best_rdp_order",
    "release_count",
    "releases_remaining",
    "next_funded_day",
    "resets",
    "trailing_365d_epsilon",
    "lifetime_epsilon",
]
TEN_DAYS = DayRange(NEW_YEAR, date(2025, 1, 10))
ELEVENTH = DayRange.single(date(2025, 1, 11))


class TestReportBudget:
    def test_the_document_has_exactly_its_fields(self, tmp_path: Path) -> None:
        """The keys of the product contract in order, JSON types only."""
        document = report_budget(open_folder(tmp_path), "dau", "2025-01").to_json()
        assert list(document) == KEYS
        assert list(document["bounds"]) == ["naive", "advanced", "rdp", "pld"]
        assert json.loads(json.dumps(document)) == document

    def test_an_untouched_month_is_whole(self, tmp_path: Path) -> None:
        """Nothing spent, the cap remaining, 31 days and two revisions possible, the first day funded."""
        document = report_budget(open_folder(tmp_path), "dau", "2025-01").to_json()
        assert (document["epsilon_spent"], document["epsilon_remaining"], document["release_count"]) == (0, 3.0, 0)
        assert document["releases_remaining"] == 33
        assert document["next_funded_day"] == "2025-01-01"
        assert (document["trailing_365d_epsilon"], document["lifetime_epsilon"]) == (0, 0)

    def test_a_full_month_states_every_bound(self, tmp_path: Path) -> None:
        """31 Gaussian DAU releases: naive 11.07 at DELTA/n, PLD 1.904; the smallest is what is spent."""
        workspace = open_folder(tmp_path, mechanism="gaussian")
        publish_releases(workspace, METRICS, JANUARY)
        document = report_budget(workspace, "dau", "2025-01").to_json()
        assert document["bounds"]["naive"]["epsilon"] == pytest.approx(11.07, abs=0.02)
        assert document["bounds"]["pld"]["epsilon"] == pytest.approx(1.904, abs=0.003)
        assert document["epsilon_spent"] == min(bound["epsilon"] for bound in document["bounds"].values())
        assert document["epsilon_remaining"] == pytest.approx(3.0 - document["epsilon_spent"])
        assert (document["release_count"], document["next_funded_day"]) == (31, "2025-02-01")
        assert document["lifetime_epsilon"] >= document["trailing_365d_epsilon"] > document["epsilon_spent"]
        assert all(bound["delta"] <= 1e-6 for bound in document["bounds"].values())

    def test_what_will_be_spent_is_what_is_spent_then(self, tmp_path: Path) -> None:
        """The loss foretold of some releases, their opening included, is that of the budget once they are made."""
        workspace = open_folder(tmp_path)
        foretold = [spent_after(workspace, "dau", "2025-01", releases=number) for number in (0, 10)]
        publish_releases(workspace, ("dau",), TEN_DAYS)
        spent = report_budget(workspace, "dau", "2025-01").epsilon_spent
        assert foretold == [0.0, pytest.approx(spent)]
        assert spent_after(workspace, "dau", "2025-01", releases=0) == pytest.approx(spent)

    def test_what_remains_counts_the_totals(self, tmp_path: Path) -> None:
        """A metric with room of its own has nothing left when the month over all metrics is full."""
        workspace = open_folder(tmp_path, mechanism="laplace", total_budget_month=1.0)
        publish_releases(workspace, ("mau",), JANUARY)
        document = report_budget(workspace, "dau", "2025-01").to_json()
        assert (document["epsilon_remaining"], document["budget_remaining"]) == (3.0, 0.0)
        assert document["releases_remaining"] == 0
        assert document["next_funded_day"] == "2025-02-01"

    def test_releases_remaining_is_what_can_be_released(self, tmp_path: Path) -> None:
        """As many further releases as stated are made, and not one more."""
        workspace = open_folder(tmp_path, mechanism="laplace", epsilon_mau=0.9)
        publish_releases(workspace, ("mau",), DayRange.single(NEW_YEAR))
        stated = report_budget(workspace, "mau", "2025-01").releases_remaining
        made = publish_releases(workspace, ("mau",), JANUARY)
        assert len(made.newly_released) == stated > 0

    def test_the_trailing_year_ends_on_the_day_asked_for(self, tmp_path: Path) -> None:
        """Charges of later days are not in it; the lifetime loss has them."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), TEN_DAYS)
        early = report_budget(workspace, "dau", date(2025, 1, 5))
        late = report_budget(workspace, "dau", date(2025, 1, 31))
        assert 0 < early.trailing_365d_epsilon < late.trailing_365d_epsilon == late.lifetime_epsilon
        assert early.epsilon_spent == late.epsilon_spent

    def test_a_bound_that_does_not_hold_is_left_out_of_the_words(self, tmp_path: Path) -> None:
        """A budget is an object until it is printed: a bound without a value is not printed, and breaks nothing."""
        state = report_budget(open_folder(tmp_path), "dau", "2025-01")
        words = budget_text(replace(state, bounds={**state.bounds, "advanced": None}))
        assert "naive 0.000, rdp 0.000, pld 0.000" in words and "advanced" not in words

    def test_a_month_must_be_one(self, tmp_path: Path) -> None:
        """Anything but YYYY-MM is refused."""
        with pytest.raises(UsageError, match="YYYY-MM"):
            report_budget(open_folder(tmp_path), "dau", "2025-13")
