"""The noise that the days of a month share: charged when drawn, and its key destroyed when its time is over."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.budget.shared_noise import (
    closed_shared_noise,
    destroy_closed_shared_noise,
    last_day_of_shared_noise,
    shared_noise_keys,
)
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import NEW_YEAR, charges_of, open_folder

IN_JANUARY = datetime(2025, 1, 20, 12, tzinfo=UTC)
IN_MARCH = datetime(2025, 3, 20, 12, tzinfo=UTC)


class TestSharedNoiseKeys:
    def test_a_key_is_kept_for_every_account_that_was_charged_for_it(self, tmp_path: Path) -> None:
        """No key before the first release; then one, and one charge, however many days are released."""
        workspace = open_folder(tmp_path, now=IN_JANUARY)
        assert shared_noise_keys(workspace).kept() == set()
        publish_releases(workspace, ("dau",), DayRange(NEW_YEAR, date(2025, 1, 3)))
        assert len(shared_noise_keys(workspace).kept()) == 1
        assert [kind for _, _, kind in charges_of(workspace)].count("opening") == 1


class TestDestroyClosedSharedNoise:
    def test_a_key_goes_when_its_time_is_over(self, tmp_path: Path) -> None:
        """In its month nothing is destroyed; 35 days after it the key is, and a later release pays for another."""
        workspace = open_folder(tmp_path, now=IN_JANUARY)
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        kept = shared_noise_keys(workspace).kept()
        assert destroy_closed_shared_noise(workspace) == 0
        workspace.close()
        workspace = open_folder(tmp_path, now=IN_MARCH)
        assert closed_shared_noise(workspace) == kept
        assert destroy_closed_shared_noise(workspace) == 1
        assert shared_noise_keys(workspace).kept() == closed_shared_noise(workspace) == set()
        assert BudgetBook(workspace.ledger, workspace.settings).terms("dau", "2025-01").shared_noise_charge


class TestLastDayOfSharedNoise:
    def test_it_lasts_35_days_after_the_month_or_after_a_late_charge(self) -> None:
        """One opened within 35 days after its month ends with them, one opened later 35 days after it was opened."""
        assert last_day_of_shared_noise("2025-01", date(2025, 1, 2)) == date(2025, 3, 7)
        assert last_day_of_shared_noise("2025-01", date(2025, 3, 7)) == date(2025, 3, 7)
        assert last_day_of_shared_noise("2025-01", date(2025, 3, 8)) == date(2025, 4, 12)
