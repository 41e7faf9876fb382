"""Every place outside the lake: exports, reports, the catalogue, the ledger's pages, Dagster's home."""

from __future__ import annotations

import numpy as np

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.other_places import verify_pages, verify_places
from dpdau_assets.settings.settings import dagster_home
from dpdau_assets.storage.scan.byte_search import KeySearch
from dpdau_tests.support.verified_folders import key_of, signed
from dpdau_tests.unit.operations.verify.looked_at import Places, places


def looked_at(workspace: Workspace, *, with_dagster: bool = True) -> Places:
    """Kind and place of what is found outside the lake."""
    search = KeySearch(np.array([key_of(workspace)], np.uint64))
    return places(lambda report: verify_places(workspace, search, report, with_dagster=with_dagster))


class TestVerifyPlaces:
    def test_an_export_that_holds_a_pseudonym_is_named(self, workspace: Workspace) -> None:
        """A published file is found when it holds a pseudonym as text, and clean otherwise."""
        path = workspace.lake.published / "metrics.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("metric,day\n")
        assert looked_at(workspace) == set()
        path.write_text(f"metric,day\n{key_of(workspace)}\n")
        assert looked_at(workspace) == {("erased", "published/metrics.csv")}

    def test_dagsters_home_is_searched_only_when_asked(self, workspace: Workspace) -> None:
        """A process that has Dagster's databases open must not open them a second time."""
        home = dagster_home(workspace.settings)
        home.mkdir(parents=True, exist_ok=True)
        (home / "event.log").write_bytes(key_of(workspace).to_bytes(8, "little"))
        assert looked_at(workspace, with_dagster=False) == set()
        assert looked_at(workspace) == {("erased", "Dagster's home")}


class TestVerifyPages:
    def test_the_table_of_tombstones_may_hold_it_and_no_other_page(self, workspace: Workspace) -> None:
        """A pseudonym in a row of another table of the ledger is found; its tombstone is none."""
        search = KeySearch(np.array([key_of(workspace)], np.uint64))
        assert places(lambda report: verify_pages(workspace, search, report)) == set()
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("INSERT INTO meta VALUES ('planted', ?)", (str(signed(key_of(workspace))),))
        assert {kind for kind, _ in places(lambda report: verify_pages(workspace, search, report))} == {"erased"}
