"""Whether a charge fits under every cap: by account, by month, by any 365 days."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.dp_events import EventCounts, repeat_event
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, open_folder


def releases_of_dau(book: BudgetBook, count: int) -> EventCounts:
    """What some releases of DAU in January would charge."""
    return repeat_event(book.terms("dau", "2025-01").mechanism.event(), count)


class TestRefusal:
    @pytest.mark.parametrize(
        ("settings", "scope", "cap", "fitting"),
        [
            ({}, "metric", 3.0, 10),
            ({"total_budget_month": 1.25}, "month", 1.25, 4),
            ({"total_budget_365d": 1.05}, "trailing_365d", 1.05, 3),
        ],
        ids=["metric", "month", "trailing"],
    )
    def test_one_release_too_many_is_refused_by_the_cap_that_it_exceeds(
        self, tmp_path: Path, settings: dict[str, Any], scope: str, cap: float, fitting: int
    ) -> None:
        """As many releases of 0.3 as the cap holds fit; of one more the refusal says scope, cap and loss."""
        workspace = open_folder(tmp_path, mechanism="laplace", **settings)
        book = BudgetBook(workspace.ledger, workspace.settings)
        assert book.refusal("dau", NEW_YEAR, releases_of_dau(book, fitting)) is None
        refusal = book.refusal("dau", NEW_YEAR, releases_of_dau(book, fitting + 1))
        assert refusal is not None
        assert (refusal.scope, refusal.epsilon_cap, refusal.epsilon_spent) == (scope, cap, 0.0)
        assert refusal.epsilon_needed > cap


class TestNextFundedDay:
    def test_it_is_the_next_month_when_this_one_is_spent(self, tmp_path: Path) -> None:
        """In a spent month no further day is funded; in one that is not, the first day that is not released is."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        publish_releases(workspace, ("dau",), JANUARY)
        book = BudgetBook(workspace.ledger, workspace.settings)
        assert book.next_funded_day("dau", NEW_YEAR) == date(2025, 2, 1)
        assert book.next_funded_day("wau", NEW_YEAR) == NEW_YEAR


class TestVersion:
    def test_a_book_is_outdated_by_any_charge(self, tmp_path: Path) -> None:
        """A charge of another process raises the ledger's version above the book's, until the book is refreshed."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        book = BudgetBook(workspace.ledger, workspace.settings)
        before, spent = book.version, book.month_events("2025-01")
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert (book.version, book.month_events("2025-01")) == (before, spent)
        book.refresh()
        assert book.version > before
        assert book.month_events("2025-01") == releases_of_dau(book, 1)
