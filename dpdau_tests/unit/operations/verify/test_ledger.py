"""The ledger's own rows: consistent with each other and within every cap."""

from __future__ import annotations

import pytest

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.ledger import verify_ledger
from dpdau_tests.unit.operations.verify.looked_at import Places, places


def looked_at(workspace: Workspace, *, is_full: bool = True) -> Places:
    """Kind and place of what is found in the ledger's rows."""
    return places(lambda report: verify_ledger(workspace, report, is_full=is_full))


class TestVerifyLedger:
    def test_a_ledger_with_releases_and_erasures_is_clean(self, workspace: Workspace) -> None:
        """Nothing is found where all rows agree, by the full check or the quick one."""
        assert looked_at(workspace) == looked_at(workspace, is_full=False) == set()

    @pytest.mark.parametrize(
        ("statement", "kind", "place"),
        [
            ("UPDATE accounts SET epsilon_cap = 0.2 WHERE metric = 'mau'", "budget", "the mau account of 2026-03"),
            ("UPDATE charges SET day = '2026-03-31'", "ledger", "charges and releases of 2026-03"),
            ("UPDATE partitions SET digest = 'x' WHERE asset = 'raw_events'", "ledger", "the ledger's partitions"),
        ],
        ids=["a-cap", "a-charge", "a-partition"],
    )
    def test_a_contradiction_is_told_by_its_place(
        self, workspace: Workspace, statement: str, kind: str, place: str
    ) -> None:
        """Charges above a cap, a value without its charge, and a digest that fits no file are each found."""
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(statement)
        assert looked_at(workspace) == {(kind, place)}
