"""Gaps of the journal: what a restore cannot know is told, and waits to be charged."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError, DataError, UsageError
from dpdau_assets.operations.budget.lost_releases import assume_released, unaccounted
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.monitor.status import report_status
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.ledger import DRAWN
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.journal.lines import files_in, read
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_assets.storage.ledger.shared_noise_charges import last_shared_noise_charges, shared_noise_charges_between
from dpdau_tests.support.lost_ledgers import (
    DAYS,
    LAST,
    USERS,
    day,
    destroy_ledger,
    erase,
    ledger_file,
    lose_journal_lines,
    new_folder,
    release,
    restored,
    spend,
)
from dpdau_tests.support.release_folders import (
    NOW,
    add_activity,
    charges_of,
    everybody,
    open_folder,
    releases_of,
)

pytestmark = pytest.mark.one_is_enough

AROUND_A_YEAR_LATER = (date(2026, 1, 10), date(2026, 1, 30), date(2026, 1, 31))
"""The 365 days up to these begin on 11 and 31 January and on 1 February of the first year."""


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A data folder with twelve users on each of six days."""
    return new_folder(tmp_path / "data")


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
    def test_a_lost_account_is_charged_with_its_shared_noise(
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
            assert last_shared_noise_charges(connection, numbers) == []  # no key belongs to a lost offset
            assert set(shared_noise_charges_between(connection, day(0), day(0))) == {"2025-01"}
            assert shared_noise_charges_between(connection, day(0), day(0), kinds=DRAWN) == {}
        stated = {last: report_budget(workspace, "dau", last).trailing_365d_epsilon for last in AROUND_A_YEAR_LATER}
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
        victim = next(line for line in lines if any(entry["note"] == "release" for entry in line.document()["notes"]))
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
        assert report.registered_batches == 1 and len(report.gaps) == 1
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(1))] == [USERS + 1]
        add_activity(workspace, late)
        assert [row["dau"] for row in count_trusted(workspace, day(1), day(1))] == [USERS + 1]

    def test_a_journal_lost_entirely_is_a_gap(self, folder: Workspace) -> None:
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
