"""Kept budget documents: those of the present version of the ledger, computed once."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.budget.kept_snapshots import KeptSnapshots
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, open_folder

FIFTH = date(2025, 1, 5)


class TestKeptSnapshots:
    def test_a_document_is_that_of_report_budget(self, tmp_path: Path) -> None:
        """Of a month and of a day, every member of the budget document is there with its value."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        kept = KeptSnapshots(workspace)
        of_month, of_day = report_budget(workspace, "dau", "2025-01"), report_budget(workspace, "dau", FIFTH)
        assert of_month.to_json().items() <= {**kept.of_month("dau", FIFTH)}.items()
        assert of_day.to_json().items() <= {**kept.of_day("dau", FIFTH)}.items()

    def test_a_document_is_computed_once_for_a_version(self, tmp_path: Path) -> None:
        """The same question returns the same object, also after `warm`, until something is charged."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        kept = KeptSnapshots(workspace)
        kept.warm()
        first = kept.of_month("dau", NEW_YEAR)
        assert kept.of_month("dau", FIFTH) is first
        kept.warm()
        assert kept.of_month("dau", FIFTH) is first

    def test_a_charge_or_a_reset_makes_a_new_version(self, tmp_path: Path) -> None:
        """After a release, and after a reset, the document tells of it."""
        workspace = open_folder(tmp_path)
        kept = KeptSnapshots(workspace)
        versions, counts = [kept.version()], [kept.of_month("dau", NEW_YEAR)["release_count"]]
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        versions, counts = [*versions, kept.version()], [*counts, kept.of_month("dau", NEW_YEAR)["release_count"]]
        reset_budget(workspace, "dau", "2025-01", "approved by the board")
        versions.append(kept.version())
        assert versions == sorted(set(versions))
        assert counts == [0, 1]
        assert kept.of_month("dau", NEW_YEAR)["resets"] == 1

    def test_warming_stops_when_told(self, tmp_path: Path) -> None:
        """Of released months nothing is computed once `is_stopped` says so; the present month always is."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        kept = KeptSnapshots(workspace)
        asked: list[bool] = []

        def is_stopped() -> bool:
            asked.append(True)
            return True

        kept.warm(is_stopped=is_stopped)
        assert len(asked) == 1
