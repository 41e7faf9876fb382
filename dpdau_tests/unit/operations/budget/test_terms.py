"""Which account pays for a release, and with what noise."""

from __future__ import annotations

from pathlib import Path

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.budget.terms import JOINT, account_name
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.release_folders import NEW_YEAR, open_folder


def reopened(workspace: Workspace, **settings: object) -> Workspace:
    """The same folder with other settings."""
    workspace.close()
    return open_folder(workspace.lake.root, **settings)


class TestMakeTerms:
    def test_an_open_account_keeps_its_noise_and_its_smaller_cap(self, tmp_path: Path) -> None:
        """Other settings change the terms of months that are not open; an open one's cap only falls."""
        workspace = open_folder(tmp_path, mechanism="laplace", epsilon_dau=0.25, dau_budget_total=2.0)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        workspace = reopened(workspace, mechanism="gaussian", dau_budget_total=9.0)
        book = BudgetBook(workspace.ledger, workspace.settings)
        opened, other = book.terms("dau", "2025-01"), book.terms("dau", "2025-02")
        assert (opened.mechanism.name, opened.cap) == ("laplace", 2.0)
        assert (other.mechanism.name, other.cap, other.account) == ("gaussian", 9.0, None)
        workspace = reopened(workspace, dau_budget_total=1.0)
        assert BudgetBook(workspace.ledger, workspace.settings).terms("dau", "2025-01").cap == 1.0

    def test_shared_noise_is_paid_for_once(self, tmp_path: Path) -> None:
        """The first release of a month pays for the noise that its days share, the next ones do not."""
        workspace = open_folder(tmp_path)
        book = BudgetBook(workspace.ledger, workspace.settings)
        first = book.terms("dau", "2025-01")
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        book.refresh()
        assert first.shared_noise_charge and not book.terms("dau", "2025-01").shared_noise_charge
        assert book.terms("dau", "2025-01").events == first.next_charge


class TestAccountName:
    def test_the_first_account_of_a_month_decides(self, tmp_path: Path) -> None:
        """A month opened metric by metric stays so when MECHANISM becomes `joint`, and other months do not."""
        workspace = open_folder(tmp_path, mechanism="laplace")
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        with workspace.ledger.read() as connection:
            names = {
                period: [account_name(connection, metric, period, mechanism=JOINT) for metric in METRICS]
                for period in ("2025-01", "2025-02")
            }
        assert names == {"2025-01": list(METRICS), "2025-02": [JOINT] * len(METRICS)}
