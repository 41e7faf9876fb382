"""The files that the ledger names: the recorded bytes, on the days that are looked at."""

from __future__ import annotations

from datetime import timedelta

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.lake import verify_lake
from dpdau_assets.storage.ledger import batches
from dpdau_tests.support.verified_folders import DAYS, FIRST, GONE, flip, plant_keys
from dpdau_tests.unit.operations.verify.looked_at import places_in_lake

DAY = FIRST + timedelta(days=3)
BEFORE = DayRange(FIRST, DAY - timedelta(days=1))


class TestVerifyLake:
    def test_a_folder_as_it_was_built_is_clean(self, workspace: Workspace) -> None:
        """Nothing is found where every file is the recorded one and every erasure is applied."""
        assert places_in_lake(workspace, verify_lake, DAYS) == set()

    def test_an_altered_file_is_told_by_its_day(self, workspace: Workspace) -> None:
        """One flipped bit is damage of that asset and day, and none where the day is not looked at."""
        flip(workspace.lake.partition_path("raw_events", DAY, epoch=workspace.salts.calendar.epoch_of(DAY)))
        assert places_in_lake(workspace, verify_lake, DAYS) == {("damaged", f"raw_events {DAY}..{DAY}")}
        assert places_in_lake(workspace, verify_lake, BEFORE) == set()

    def test_an_erased_user_is_told_by_the_whole_range(self, workspace: Workspace) -> None:
        """A pseudonym that must be gone is found, and its day is not told."""
        plant_keys(workspace, "erasure_replay", DAY, GONE)
        assert places_in_lake(workspace, verify_lake, DAYS) == {("erased", f"erasure_replay {DAYS.first}..{DAYS.last}")}

    def test_a_staged_file_is_told_by_its_batch(self, workspace: Workspace) -> None:
        """A staged file that is gone is damage of its batch, whatever days are looked at."""
        with workspace.ledger.read() as connection:
            file = batches.staged_between(connection)[0]
        workspace.lake.staging_path(file.day, batch=file.batch, epoch=file.epoch).unlink()
        assert places_in_lake(workspace, verify_lake, BEFORE) == {("damaged", f"staging batch {file.batch}")}
