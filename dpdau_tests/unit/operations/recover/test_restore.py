"""Restores: nothing released is drawn again, nobody erased comes back."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError, DataError, DpdauError
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.erase.request import erasure_status
from dpdau_assets.operations.lifecycle.rotate_salt import rotate_salt
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_tests.support.lost_ledgers import (
    DAYS,
    LAST,
    USERS,
    day,
    destroy_ledger,
    erase,
    ledger_file,
    new_folder,
    release,
    restored,
    spend,
)
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    NOW,
    add_activity,
    charges_of,
    everybody,
    open_folder,
    releases_of,
)
from dpdau_tests.support.workspaces import files_holding

pytestmark = pytest.mark.one_is_enough


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A data folder with twelve users on each of six days."""
    return new_folder(tmp_path / "data")


class TestTheStory:
    @pytest.mark.parametrize("mechanism", ["gaussian", "correlated"])
    @pytest.mark.one_is_enough
    def test_everything_after_the_backup_comes_back(self, tmp_path: Path, mechanism: str) -> None:
        """Release, back up, release more, erase, reset, rotate, lose the ledger: same values, spend and offset."""
        workspace = open_folder(tmp_path / "data", mechanism=mechanism)
        add_activity(workspace, everybody(USERS, days=DAYS))
        release(workspace, 0, 1)
        erase(workspace, "user-1")
        flush_deletes(workspace)
        backup(workspace)
        release(workspace, 2, 3)
        erase(workspace, "user-2")
        flush_deletes(workspace)
        erase(workspace, "user-3")
        reset_budget(workspace, "dau", "2025-01", "approved")
        release(workspace, 4)
        rotate_salt(workspace, NOW.date() + timedelta(days=9))
        workspace.close()
        workspace = open_workspace(workspace.settings, clock=workspace.clock)
        erase(workspace, "user-5")
        expected, values = spend(workspace), releases_of(workspace)
        destroy_ledger(workspace)

        workspace, report = restored(workspace)
        assert report.source == "ledger-20251201.sqlite" and report.gaps == () and report.unaccounted == ()
        assert spend(workspace) == expected and releases_of(workspace) == values
        assert len(values) == 15
        for user in ("user-1", "user-2", "user-3", "user-5"):
            assert files_holding(workspace, user, first=NEW_YEAR, last=LAST) == []
        assert all(row["completed_at"] for row in erasure_status(workspace))
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS - 4] * DAYS
        charges = charges_of(workspace)
        release(workspace, 0, 4)
        assert charges_of(workspace) == charges and releases_of(workspace) == values
        release(workspace, 5)
        shared_noise_charges = [kind for _, _, kind in charges_of(workspace)].count("opening")
        assert shared_noise_charges == (4 if mechanism == "correlated" else 0)  # three, and one after the reset
        assert verify(workspace).ok, verify(workspace).findings

    def test_without_any_backup_the_journal_alone_will_do(self, folder: Workspace) -> None:
        """A journal that goes back to the creation needs no copy."""
        release(folder, 0, 2)
        erase(folder, "user-1")
        expected = spend(folder)
        destroy_ledger(folder)
        workspace, report = restored(folder)
        assert report.source == "the journal alone" and spend(workspace) == expected
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS - 1] * DAYS

    def test_an_old_ledger_put_back_is_brought_up(self, folder: Workspace) -> None:
        """A sound ledger that is older than its journal refuses to be opened and is completed in place."""
        release(folder, 0)
        folder.ledger.scrub()
        folder.close()
        old = ledger_file(folder).read_bytes()
        folder = open_workspace(folder.settings, clock=folder.clock)
        release(folder, 1, 2)
        expected = spend(folder)
        destroy_ledger(folder)
        ledger_file(folder).write_bytes(old)
        with pytest.raises(DataError, match="older than its journal") as refused:
            open_workspace(folder.settings, clock=folder.clock)
        assert "dpdau restore" in refused.value.hint
        workspace, report = restored(folder)
        assert report.source == "the present ledger" and spend(workspace) == expected

    @pytest.mark.parametrize("damage", ["page", "truncated", "empty", "garbage"])
    @pytest.mark.one_is_enough
    def test_a_damaged_ledger_is_noticed_and_restored(self, folder: Workspace, damage: str) -> None:
        """Whatever is left of the file, the line that tells of it names the command that brings it back."""
        release(folder, 0, 1)
        backup(folder)
        release(folder, 2)
        expected = spend(folder)
        folder.ledger.scrub()
        folder.close()
        path = ledger_file(folder)
        content = path.read_bytes()
        changed = {
            "page": content[:4096] + b"\x7f" * (len(content) - 4096),
            "truncated": content[: len(content) // 2],
            "empty": b"",
            "garbage": b"no database" * 1000,
        }
        path.write_bytes(changed[damage])
        with pytest.raises(DpdauError) as told:
            release(open_workspace(folder.settings, clock=folder.clock), 2)
        assert "dpdau restore" in told.value.hint
        workspace, _ = restored(folder)
        assert spend(workspace) == expected

    def test_an_intact_and_complete_ledger_is_left_alone(self, folder: Workspace) -> None:
        """There is nothing to restore, from the newest copy or from a named one, and nothing changes."""
        release(folder, 0)
        made = backup(folder).made[0].path
        release(folder, 1)
        expected = spend(folder)
        for source in (None, made):
            with pytest.raises(ConfigurationError, match="nothing is to be restored"):
                restore(folder.settings, source=source, clock=folder.clock)
        assert spend(folder) == expected

    def test_a_process_of_before_the_restore_cannot_write(self, folder: Workspace) -> None:
        """A ledger kept open over the restore is the lost file: its next transaction is refused."""
        release(folder, 0)
        stale = open_workspace(folder.settings, clock=folder.clock)
        with stale.ledger.read():
            pass
        for path in ledger_file(folder).parent.glob("ledger.sqlite*"):
            path.unlink()
        restored(folder)
        with pytest.raises(DataError, match="older than its journal"):
            release(stale, 1)

    def test_without_the_salts_nothing_is_restored(self, folder: Workspace, tmp_path: Path) -> None:
        """Erasures of the journal cannot be read then, and a ledger without them would bring users back."""
        erase(folder, "user-1")
        destroy_ledger(folder)
        kept = folder.lake.secrets_path.rename(tmp_path / "salts.json")
        with pytest.raises(DataError, match="cannot be read without"):
            restore(folder.settings, clock=folder.clock)
        assert not ledger_file(folder).exists()
        kept.rename(folder.lake.secrets_path)
        workspace, _ = restored(folder)
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS - 1] * DAYS

    def test_a_damaged_copy_is_passed_over(self, folder: Workspace) -> None:
        """With the newest copy damaged, the restore starts from an older one or from the journal's begin."""
        release(folder, 0)
        made = backup(folder).made[0].path
        release(folder, 1)
        expected = spend(folder)
        content = bytearray(made.read_bytes())
        content[5000] ^= 1
        made.write_bytes(content)
        destroy_ledger(folder)
        with pytest.raises(DataError, match="not an intact copy"):
            restore(folder.settings, source=made, clock=folder.clock)
        workspace, report = restored(folder)
        assert report.source == "the journal alone" and spend(workspace) == expected

    def test_files_older_than_their_erasure_are_cleaned(self, folder: Workspace) -> None:
        """When the lake comes from before an erasure, the restore removes the erased before it returns."""
        publish_releases(folder, METRICS, DayRange(day(0), LAST))
        backup(folder, with_lake=True)
        erase(folder, "user-4")
        flush_deletes(folder)
        assert files_holding(folder, "user-4", first=NEW_YEAR, last=LAST) != []  # the copy, and only that
        destroy_ledger(folder)
        shutil.rmtree(folder.lake.root / "lake" / "raw_events")
        workspace, report = restored(folder, with_lake=True)
        assert report.lake == "lake-20251201"
        held = files_holding(workspace, "user-4", first=NEW_YEAR, last=LAST)
        assert [path for path in held if not path.startswith("backups/")] == []
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS - 1] * DAYS


class TestTheLake:
    def test_data_comes_back_and_newer_batches_can_be_ingested_again(self, folder: Workspace) -> None:
        """After `--lake`, days are as they were at the copy, and a later batch that was folded is forgotten."""
        count_trusted(folder, NEW_YEAR, LAST)
        backup(folder, with_lake=True)
        late = {day(1): ["late-1", "late-2"], day(2): ["late-1"]}
        add_activity(folder, late)
        assert [row["dau"] for row in count_trusted(folder, day(0), day(2))] == [USERS, USERS + 2, USERS + 1]
        shutil.rmtree(folder.lake.root / "lake" / "raw_events" / f"day={day(3)}")
        folder.close()
        workspace, report = restored(folder, with_lake=True)
        assert report.batches_to_repeat == 1
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS] * DAYS
        add_activity(workspace, late)
        assert [row["dau"] for row in count_trusted(workspace, day(0), day(2))] == [USERS, USERS + 2, USERS + 1]

    def test_what_is_staged_stays_staged(self, folder: Workspace) -> None:
        """Acknowledged events that were not folded when the ledger was lost are counted afterwards."""
        backup(folder)
        add_activity(folder, {day(2): ["new-1", "new-2"]})
        destroy_ledger(folder)
        workspace, report = restored(folder)
        assert report.registered.staged > 0
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(2))] == [USERS, USERS + 2]

    def test_a_damaged_file_is_never_counted_without(self, folder: Workspace) -> None:
        """A flipped byte in raw events that nobody recorded is found by its checksum, and its day refuses."""
        count_trusted(folder, NEW_YEAR, LAST)
        destroy_ledger(folder)
        victim = next((folder.lake.root / "lake" / "raw_events" / f"day={day(2)}").glob("*.parquet"))
        for link in (folder.lake.root / "lake" / "erasure_replay" / f"day={day(2)}").glob("*.parquet"):
            link.unlink()
        content = bytearray(victim.read_bytes())
        content[60] ^= 1
        victim.write_bytes(content)
        with pytest.raises(DataError, match="recorded"):
            restore(folder.settings, clock=folder.clock)
            count_trusted(open_workspace(folder.settings, clock=folder.clock), NEW_YEAR, LAST)

    @pytest.mark.parametrize("damage", ["missing", "flipped"])
    def test_a_lost_file_comes_back_from_the_live_users(self, folder: Workspace, damage: str) -> None:
        """With the ledger and a day of raw events gone, the live users of the day, a file of their own, stand in."""
        count_trusted(folder, NEW_YEAR, LAST)
        destroy_ledger(folder)
        for raw in (folder.lake.root / "lake" / "raw_events" / f"day={day(2)}").glob("*.parquet"):
            live = folder.lake.root / "lake" / "erasure_replay" / raw.parent.name / raw.name
            content = raw.read_bytes()
            for path in (raw, live):
                path.unlink()
            live.write_bytes(content)
            if damage == "flipped":
                raw.write_bytes(content[:60] + bytes([content[60] ^ 1]) + content[61:])
        workspace, report = restored(folder)
        assert report.registered.repaired > 0 and report.registered.missing == report.registered.damaged == 0
        assert [row["dau"] for row in count_trusted(workspace, NEW_YEAR, LAST)] == [USERS] * DAYS
        assert verify(workspace).ok, verify(workspace).findings

    def test_a_day_that_is_lost_whole_refuses(self, folder: Workspace) -> None:
        """Where only a copy of the ledger tells of a day, nothing counts without it before somebody accepts that."""
        count_trusted(folder, NEW_YEAR, LAST)
        backup(folder)
        destroy_ledger(folder)
        for asset in ("raw_events", "erasure_replay"):
            shutil.rmtree(folder.lake.root / "lake" / asset / f"day={day(2)}")
        with pytest.raises(DataError, match="recorded"):
            restore(folder.settings, clock=folder.clock)
        workspace = open_workspace(folder.settings, clock=folder.clock, create=False)
        with pytest.raises(DataError, match="recorded"):
            count_trusted(workspace, NEW_YEAR, LAST)
        assert "damaged" in {finding.kind for finding in verify(workspace).findings}
        rebuild(workspace, DayRange(day(2), day(2)), accept_loss=True)
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(3))] == [USERS, 0, USERS]
        assert verify(workspace).ok, verify(workspace).findings
