"""Backups and restores: nothing released is drawn again, nobody erased comes back, whatever is lost is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError, DataError, DpdauError, UsageError
from dpdau_assets.operations.backup import backup
from dpdau_assets.operations.count_trusted import count_trusted
from dpdau_assets.operations.export_metrics import export_metrics
from dpdau_assets.operations.publish_release import publish_releases
from dpdau_assets.operations.rebuild import rebuild
from dpdau_assets.operations.replay_erasures import flush_deletes
from dpdau_assets.operations.report_budget import report_budget
from dpdau_assets.operations.report_status import report_status
from dpdau_assets.operations.request_erasure import erasure_status, request_erasure
from dpdau_assets.operations.reset_budget import reset_budget
from dpdau_assets.operations.restore import Restored, restore
from dpdau_assets.operations.rotate_salt import rotate_salt
from dpdau_assets.operations.unaccounted import assume_released, unaccounted
from dpdau_assets.operations.verify import verify
from dpdau_assets.operations.verify_ledger import DRAWN
from dpdau_assets.operations.workspace import Workspace, open_workspace
from dpdau_assets.storage import budget
from dpdau_assets.storage.journal_lines import files_in, read
from dpdau_assets.storage.openings import last_openings, openings_between
from dpdau_tests.integration.release_folders import (
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

USERS = 12
DAYS = 6
LAST = NEW_YEAR + timedelta(days=DAYS - 1)
AROUND_A_YEAR_LATER = (date(2026, 1, 10), date(2026, 1, 30), date(2026, 1, 31))
"""The 365 days up to these begin on 11 and 31 January and on 1 February of the first year."""


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A data folder with twelve users on each of six days."""
    workspace = open_folder(tmp_path / "data")
    add_activity(workspace, everybody(USERS, days=DAYS))
    return workspace


def day(number: int) -> date:
    """The n-th day of the series, from 0."""
    return NEW_YEAR + timedelta(days=number)


def release(workspace: Workspace, first: int, last: int | None = None, **options: Any) -> None:
    """Releases all metrics of some days."""
    publish_releases(workspace, METRICS, DayRange(day(first), day(first if last is None else last)), **options)


def erase(workspace: Workspace, user: str) -> None:
    """Requests the erasure of one user of every day."""
    request_erasure(workspace, [user.encode()], through=LAST, now=NOW)


def ledger_file(workspace: Workspace) -> Path:
    """The file of the ledger."""
    return workspace.lake.ledger_path


def destroy_ledger(workspace: Workspace) -> None:
    """Loses the ledger whole."""
    workspace.close()
    for path in ledger_file(workspace).parent.glob("ledger.sqlite*"):
        path.unlink()


def restored(workspace: Workspace, **options: Any) -> tuple[Workspace, Restored]:
    """The folder after a restore."""
    report = restore(workspace.settings, clock=workspace.clock, **options)
    return open_workspace(workspace.settings, clock=workspace.clock, create=False), report


def spend(workspace: Workspace) -> Any:
    """Everything charged, and the rows it is charged by."""
    with workspace.ledger.read() as connection:
        tables = ("accounts", "charges", "releases", "resets", "erasure_requests")
        rows = {name: connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in tables}
    rows["erasure_requests"] = [row[:-1] for row in rows["erasure_requests"]]  # when they were complete is new
    return rows


def lose_journal_lines(workspace: Workspace, *, kept: int) -> None:
    """Loses all lines of the journal but the first ones."""
    lines = read(workspace.lake.journal_folder).lines
    path = files_in(workspace.lake.journal_folder)[0]
    path.write_bytes(path.read_bytes()[: lines[kept].offset])


class TestBackup:
    def test_a_copy_is_sound_named_by_its_day_and_described(self, folder: Workspace) -> None:
        """The copy passes SQLite's checks and its manifest tells its place in the journal and when it goes."""
        release(folder, 0)
        made = backup(folder).made[0]
        assert made.path.name == "ledger-20251201.sqlite" and not made.path.with_name(made.path.name + "-wal").exists()
        with closing(sqlite3.connect(made.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("SELECT count(*) FROM releases").fetchone() == (3,)
        manifest = json.loads(made.path.with_suffix(".json").read_bytes())
        assert manifest["journal_seq"] == read(folder.lake.journal_folder).lines[-1].seq
        assert manifest["first_day"] <= NEW_YEAR.isoformat() and manifest["expires_at"] > manifest["created_at"]
        assert made.path.stat().st_mode & 0o077 == 0

    def test_no_copy_holds_a_secret(self, folder: Workspace) -> None:
        """Nothing below backups/ holds a secret of the salt store."""
        backup(folder, with_lake=True)
        stored = json.loads(folder.lake.secrets_path.read_bytes())
        secrets = [*stored["secrets"].values(), stored["batch_key"]]
        copies = [path.read_bytes() for path in folder.lake.backups.rglob("*") if path.is_file()]
        assert len(copies) > 4
        for secret in secrets:
            assert not any(secret.encode() in copy or bytes.fromhex(secret) in copy for copy in copies)

    @pytest.mark.slow
    def test_old_copies_and_what_only_they_needed_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A copy past BACKUP_RETENTION_DAYS is removed by the next, with the journal files that no copy needs."""
        monkeypatch.setattr("dpdau_assets.storage.journal.FILE_BYTES", 2000)
        workspace = open_folder(tmp_path / "data", backup_retention_days=3)
        add_activity(workspace, everybody(3, days=2))
        first = backup(workspace).made[0].path
        release(workspace, 0, 1)
        workspace.close()
        later = open_folder(tmp_path / "data", backup_retention_days=3, now=NOW + timedelta(days=4))
        before = len(files_in(later.lake.journal_folder))
        report = backup(later)
        assert report.removed == (first.name,) and not first.exists() and not first.with_suffix(".json").exists()
        assert report.journal_files_dropped > 0
        assert len(files_in(later.lake.journal_folder)) == before - report.journal_files_dropped > 0
        expected = spend(later)
        destroy_ledger(later)
        again, found = restored(later)
        assert spend(again) == expected and found.gaps == ()


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
        openings = [kind for _, _, kind in charges_of(workspace)].count("opening")
        assert openings == (4 if mechanism == "correlated" else 0)  # three, and one after the reset
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

    def test_a_sound_and_complete_ledger_is_left_alone(self, folder: Workspace) -> None:
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

    def test_an_unsound_copy_is_passed_over(self, folder: Workspace) -> None:
        """With the newest copy damaged, the restore starts from an older one or from the journal's begin."""
        release(folder, 0)
        made = backup(folder).made[0].path
        release(folder, 1)
        expected = spend(folder)
        content = bytearray(made.read_bytes())
        content[5000] ^= 1
        made.write_bytes(content)
        destroy_ledger(folder)
        with pytest.raises(DataError, match="not a sound copy"):
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
        assert report.adopted.staged > 0
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
        assert report.adopted.healed > 0 and report.adopted.missing == report.adopted.damaged == 0
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


class TestGaps:
    @pytest.fixture
    def lost(self, folder: Workspace) -> Workspace:
        """A folder that released two days before the backup and two after, and lost ledger and journal's end."""
        release(folder, 0, 1)
        backup(folder)
        kept = len(read(folder.lake.journal_folder).lines)
        release(folder, 2, 3)
        lose_journal_lines(folder, kept=kept - 1)
        destroy_ledger(folder)
        return folder

    def test_a_lost_end_is_told_and_its_days_wait(self, lost: Workspace) -> None:
        """Stored values are answered, unreleased days of that time are refused, and both name the way on."""
        workspace, report = restored(lost)
        assert len(report.gaps) == 1 and report.gaps[0].until is None
        assert report.unaccounted[0].first == day(2)
        assert f"--assume-released {day(2)}.." in report_status(workspace)["next_action"]
        release(workspace, 0, 1)
        with pytest.raises(DataError, match="may have been released") as refused:
            release(workspace, 2)
        assert "--assume-released" in refused.value.hint
        assert len(releases_of(workspace)) == 6

    @pytest.mark.parametrize(
        "changed",
        [{"series_start": None}, {"series_start": LAST}, {"series_end": day(1)}],
        ids=["start unset", "start moved later", "series ended"],
    )
    def test_days_wait_by_the_settings_of_then(self, folder: Workspace, changed: dict[str, Any]) -> None:
        """What a restore is given as the series does not take a day out of those that may have been released."""
        backup(folder)
        kept = len(read(folder.lake.journal_folder).lines)
        release(folder, 2)
        lose_journal_lines(folder, kept=kept - 1)
        destroy_ledger(folder)
        settings = folder.settings
        report = restore(settings.model_copy(update=changed), clock=folder.clock)
        assert (report.unaccounted[0].first, report.unaccounted[-1].last > LAST) == (day(0), True)
        with pytest.raises(DataError, match="may have been released"):
            release(open_workspace(settings, clock=folder.clock), 2)

    def test_without_any_first_day_a_gap_is_refused(self, tmp_path: Path) -> None:
        """Where neither settings nor ledger know when the series began, the restore asks instead of guessing."""
        workspace = open_folder(tmp_path / "data", series_start=None)
        backup(workspace)
        kept = len(read(workspace.lake.journal_folder).lines)
        add_activity(workspace, everybody(3))
        begun = open_folder(tmp_path / "data")
        release(begun, 0)
        begun.close()
        lose_journal_lines(workspace, kept=kept)
        destroy_ledger(workspace)
        with pytest.raises(ConfigurationError, match="from which day on") as refused:
            restore(workspace.settings, clock=workspace.clock)
        assert "SERIES_START" in refused.value.hint and not ledger_file(workspace).exists()
        again, report = restored(begun)
        assert report.unaccounted[0].first == day(0)
        with pytest.raises(DataError, match="may have been released"):
            release(again, 0)

    def test_a_clock_set_back_shortens_no_gap(self, lost: Workspace) -> None:
        """Days that were closed by what copy and journal have seen wait, whatever the machine's time is now."""
        report = restore(lost.settings, clock=lambda: NOW - timedelta(days=400))
        assert (report.unaccounted[0].first, report.unaccounted[-1].last) == (day(2), (NOW - timedelta(days=1)).date())

    def test_assumed_days_are_charged_once_and_released_as_revision_1(self, lost: Workspace) -> None:
        """The lost draws are paid for, the days free, other days still wait."""
        workspace, _ = restored(lost)
        done = assume_released(workspace, DayRange(day(2), day(3)), reason="the report of Monday shows them")
        assert len(done.charged) == 6 and done.still_unaccounted[0].first == day(4)
        kinds = [kind for _, _, kind in charges_of(workspace)]
        assert kinds.count("assumed") == 6
        with pytest.raises(UsageError, match="unaccounted"):
            assume_released(workspace, DayRange(day(2), day(3)), reason="again")
        release(workspace, 2)
        assert {(one.day, one.revision) for one in releases_of(workspace)} == {(day(0), 0), (day(1), 0), (day(2), 1)}
        with workspace.ledger.read() as connection:
            events = budget.events_of_metric(connection, "dau", "2025-01")
        assert sum(count for _, count in events) == 6  # an opening, two before, two assumed, one now
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 4)

    @pytest.mark.parametrize(("mechanism", "accounts"), [("correlated", METRICS), ("joint", ("joint",))])
    def test_a_lost_account_is_charged_with_its_offset(
        self, tmp_path: Path, mechanism: str, accounts: tuple[str, ...]
    ) -> None:
        """Where the account itself is lost, its first lost value is charged with an opening, and a new one follows.

        That opening counts in every 365 days that touch its month, like one that was drawn.
        """
        workspace = open_folder(tmp_path / "data", mechanism=mechanism)
        add_activity(workspace, everybody(USERS, days=DAYS))
        backup(workspace)
        kept = len(read(workspace.lake.journal_folder).lines)
        release(workspace, 1, 2)
        lose_journal_lines(workspace, kept=kept - 1)
        destroy_ledger(workspace)
        workspace, report = restored(workspace)
        assert report.unaccounted[0].first == day(0)
        done = assume_released(workspace, DayRange(day(1), day(2)), reason="known")
        assert sorted(done.charged) == sorted((name, day(number)) for name in accounts for number in (1, 2))
        with workspace.ledger.read() as connection:
            rows = connection.exec_driver_sql("SELECT events FROM charges ORDER BY charge").all()
        assert [len(json.loads(row[0])) for row in rows] == [1] * 3 * len(accounts)
        with workspace.ledger.read() as connection:
            numbers = connection.exec_driver_sql("SELECT account FROM accounts").scalars().all()
            assert last_openings(connection, numbers) == []  # no key belongs to a lost offset
            assert set(openings_between(connection, day(0), day(0))) == {"2025-01"}
            assert openings_between(connection, day(0), day(0), kinds=DRAWN) == {}
        stated = {last: report_budget(workspace, "dau", last)["trailing_365d_epsilon"] for last in AROUND_A_YEAR_LATER}
        assert [loss > 0 for loss in stated.values()] == [True, True, False]
        assert stated[AROUND_A_YEAR_LATER[0]] == stated[AROUND_A_YEAR_LATER[1]]  # the opening alone
        release(workspace, 1)
        kinds = [kind for _, _, kind in charges_of(workspace)]
        assert kinds.count("opening") == len(accounts)
        assert {one.revision for one in releases_of(workspace)} == {1}
        assert verify(workspace).findings == ()

    @pytest.mark.slow
    def test_numbers_of_lost_rows_are_never_used_again(self, lost: Workspace) -> None:
        """New accounts and charges get numbers far above all that were lost."""
        workspace, _ = restored(lost)
        assume_released(workspace, DayRange(day(2), day(2)), reason="found in the mail")
        with workspace.ledger.read() as connection:
            numbers = [row[0] for row in connection.exec_driver_sql("SELECT charge FROM charges").all()]
        assert numbers[:9] == list(range(1, 10)) and min(numbers[9:]) > 1_000_000  # three openings, six releases

    def test_lines_after_a_gap_still_count(self, folder: Workspace) -> None:
        """A lost line in the middle loses only its own values: what was released later is answered as it was."""
        backup(folder)
        release(folder, 0, 1)
        values = {(one.metric, one.day): one.drawn for one in releases_of(folder)}
        lines = read(folder.lake.journal_folder).lines
        victim = next(line for line in lines if any(note["note"] == "release" for note in line.document()["notes"]))
        content = bytearray(victim.path.read_bytes())
        content[victim.offset + 20] ^= 1
        victim.path.write_bytes(content)
        destroy_ledger(folder)
        workspace, report = restored(folder)
        assert len(report.gaps) == 1 and report.gaps[0].until is not None
        found = {(one.metric, one.day): one.drawn for one in releases_of(workspace)}
        assert len(found) == 5 and found.items() <= values.items()
        assert verify(workspace).ok, verify(workspace).findings
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 0)

    def test_a_mirror_closes_the_gap(self, tmp_path: Path) -> None:
        """With a second copy of the journal, losing the first loses nothing."""
        workspace = open_folder(tmp_path / "data", journal_mirror_dir=tmp_path / "mirror")
        add_activity(workspace, everybody(3, days=3))
        backup(workspace)
        release(workspace, 0, 2)
        expected = spend(workspace)
        destroy_ledger(workspace)
        shutil.rmtree(workspace.lake.journal_folder)
        again, report = restored(workspace)
        assert spend(again) == expected and report.gaps == ()
        release(again, 2)
        assert [path.read_bytes() for path in files_in(again.lake.journal_folder)] == [
            path.read_bytes() for path in files_in(tmp_path / "mirror")
        ]

    def test_events_staged_in_the_gap_are_kept(self, folder: Workspace) -> None:
        """Acknowledged events whose batch is lost are counted, and their source may be ingested again."""
        backup(folder)
        kept = len(read(folder.lake.journal_folder).lines)
        late = {day(1): ["late-1"]}
        add_activity(folder, late)
        release(folder, 0)
        erase(folder, "nobody")
        lose_journal_lines(folder, kept=kept - 1)
        destroy_ledger(folder)
        workspace, report = restored(folder)
        assert report.adopted_batches == 1 and len(report.gaps) == 1
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(1))] == [USERS + 1]
        add_activity(workspace, late)
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(1))] == [USERS + 1]

    def test_a_journal_lost_whole_is_a_gap(self, folder: Workspace) -> None:
        """Without any line, everything since the copy is uncertain, and the chain starts again from it."""
        release(folder, 0)
        backup(folder)
        destroy_ledger(folder)
        shutil.rmtree(folder.lake.journal_folder)
        workspace, report = restored(folder)
        assert [gap.until for gap in report.gaps] == [None] and report.unaccounted[0].first == day(1)
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 1)
        assert len(read(workspace.lake.journal_folder).lines) >= 1

    @pytest.mark.slow
    def test_what_was_published_shows_a_lost_end(self, folder: Workspace) -> None:
        """A value in the exported file that neither copy nor journal knows is a gap, though every line chains."""
        release(folder, 0)
        kept = len(read(folder.lake.journal_folder).lines)
        release(folder, 1)
        export_metrics(folder)
        lose_journal_lines(folder, kept=kept)
        destroy_ledger(folder)
        workspace, report = restored(folder)
        assert [gap.until for gap in report.gaps] == [None] and report.unaccounted[0].first == day(1)
        with pytest.raises(DataError, match="may have been released"):
            release(workspace, 1)

    @pytest.mark.slow
    def test_a_second_restore_finds_the_same_days_waiting(self, lost: Workspace) -> None:
        """What a restore found unaccounted for is in the journal like every other fact."""
        workspace, report = restored(lost)
        assume_released(workspace, DayRange(day(2), day(3)), reason="known")
        expected = spend(workspace)
        with workspace.ledger.read() as connection:
            waiting = unaccounted(connection)
        destroy_ledger(workspace)
        workspace, _ = restored(workspace)
        assert spend(workspace) == expected
        with workspace.ledger.read() as connection:
            assert unaccounted(connection) == waiting != report.unaccounted
