"""What one release writes: its account, its charge and its value, in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection

from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.quantities import Metric
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.release.draw_release import Draw
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import releases
from dpdau_tests.support.release_folders import NEW_YEAR, charges_of, open_folder, releases_of

USERS = 10**6


def drawn(workspace: Workspace, connection: Connection, book: BudgetBook) -> dict[Metric, releases.Release]:
    """A release of DAU of a million users, in a transaction of the caller."""
    terms, totals = book.terms("dau", "2025-01"), book.totals("2025-01")
    assert not isinstance(terms.mechanism, JointGaussian)
    counts = Counts("set", {("dau", NEW_YEAR): USERS})
    draw = Draw(workspace, connection, counts, NEW_YEAR, None, None, workspace.clock())
    account, shared_noise = draw.shared_noise(draw.account(terms, totals), terms)
    return draw.single(account, terms.mechanism, "dau", threshold=KEY_SPACE, shared_noise=shared_noise)


class TestSingle:
    @pytest.mark.parametrize("mechanism", ["laplace", "gaussian", "correlated"])
    def test_a_value_has_one_charge_of_its_own(self, tmp_path: Path, mechanism: str) -> None:
        """The stored value names the charge that pays for it, and is near the count."""
        workspace = open_folder(tmp_path, mechanism=mechanism)
        book = BudgetBook(workspace.ledger, workspace.settings)
        with workspace.ledger.write() as connection:
            release = drawn(workspace, connection, book)["dau"]
        assert releases_of(workspace) == [release]
        kinds = [kind for _, _, kind in charges_of(workspace)]
        assert kinds == ["opening"] * (mechanism == "correlated") + ["release"]
        assert release.charge == len(kinds)
        assert abs(release.result["estimate"] - USERS) < 10_000
        assert release.result["noise_source"] == "secure"

    def test_a_transaction_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        """Neither account nor charge nor value is left of a draw whose transaction was not committed."""
        workspace = open_folder(tmp_path)
        book = BudgetBook(workspace.ledger, workspace.settings)
        with pytest.raises(RuntimeError), workspace.ledger.write() as connection:
            drawn(workspace, connection, book)
            raise RuntimeError
        assert (releases_of(workspace), charges_of(workspace)) == ([], [])
        book.refresh()
        assert book.terms("dau", "2025-01").account is None
