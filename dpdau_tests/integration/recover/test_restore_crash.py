"""Backups and restores that are killed, and backups while others write: whole or absent; the next one ends well."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.ledger.ledger import set_meta
from dpdau_tests.support.crashes import count_steps, dies_at, sampled
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, add_activity, at, everybody, open_folder
from dpdau_tests.support.workspaces import copy_of, files_holding

pytestmark = pytest.mark.untraced

LAST = NEW_YEAR + timedelta(days=3)
TABLES = ("accounts", "charges", "releases", "resets")
context = multiprocessing.get_context("forkserver")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """The budget's rows in a ledger's file."""
    with closing(sqlite3.connect(path)) as connection:
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}


def lose_and_restore(workspace: Workspace) -> None:
    """Loses the ledger and restores it."""
    workspace.close()
    for path in workspace.lake.ledger_path.parent.glob("ledger.sqlite*"):
        path.unlink()
    restore(workspace.settings, clock=workspace.clock)


def back_up(workspace: Workspace) -> None:
    """Copies the ledger and the data."""
    backup(workspace, with_lake=True)


def write_facts(settings: dict[str, object], root: Path, name: str, count: int) -> None:
    """Writes `count` transactions of two facts that are always equal."""
    workspace = open_workspace(Settings(**{**settings, "data_dir": root}), clock=at(NOW))
    for number in range(count):
        with workspace.ledger.write() as connection:
            set_meta(connection, f"{name}-a", str(number))
            set_meta(connection, f"{name}-b", str(number))


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A folder with a backup, and releases and an erasure after it."""
    workspace = open_folder(tmp_path / "data")
    add_activity(workspace, everybody(5, days=4))
    publish_releases(workspace, METRICS, DayRange(NEW_YEAR, NEW_YEAR))
    backup(workspace)
    publish_releases(workspace, METRICS, DayRange(NEW_YEAR + timedelta(days=1), LAST))
    request_erasure(workspace, [b"user-1"], through=LAST, now=NOW)
    return workspace


class TestKilledRestore:
    def check(self, folder: Workspace, tmp_path: Path, *, count: int) -> None:
        """Kills a restore at `count` steps, each in a folder of its own, and restores again."""
        expected = rows(folder.lake.ledger_path)
        steps = count_steps(lose_and_restore, copy_of(folder, tmp_path / "counted"))
        assert steps > 20
        for step in sampled(steps, count=count):
            place = copy_of(folder, tmp_path / f"step-{step}")
            assert dies_at(step, lose_and_restore, place)
            try:
                restore(place.settings, clock=place.clock)
            except ConfigurationError:
                assert place.lake.ledger_path.exists()  # the new ledger was in place already
            again = open_workspace(place.settings, clock=place.clock, create=False)
            assert rows(again.lake.ledger_path) == expected, step
            assert [row["dau"] for row in count_trusted(again, NEW_YEAR, LAST)] == [4] * 4, step
            assert files_holding(again, "user-1", first=NEW_YEAR, last=LAST) == [], step
            assert not list(again.lake.ledger_path.parent.glob(".*.tmp-*")), step

    @pytest.mark.slow
    def test_the_next_attempt_ends_well(self, folder: Workspace, tmp_path: Path) -> None:
        """Killed at a few steps, a restore is repeated: same rows, the erased gone, nothing left behind."""
        self.check(folder, tmp_path, count=3)

    @pytest.mark.slow
    def test_wherever_it_was_killed(self, folder: Workspace, tmp_path: Path) -> None:
        """As above, at up to forty steps."""
        self.check(folder, tmp_path, count=40)


class TestKilledBackup:
    def test_a_copy_is_complete_or_absent(self, folder: Workspace, tmp_path: Path) -> None:
        """Killed at any step, a backup leaves no copy that passes for sound and is not, and the next one succeeds."""
        steps = count_steps(back_up, copy_of(folder, tmp_path / "counted"))
        for step in sampled(steps, count=3):
            place = copy_of(folder, tmp_path / f"step-{step}")
            assert dies_at(step, back_up, place)
            known = backups.known(place.lake.backups)
            assert all(backups.is_intact(one) for one in known), step
            again = open_workspace(place.settings, clock=place.clock, create=False)
            assert all(backups.is_intact(one) for one in backup(again, with_lake=True).made), step


class TestBackupWhileOthersWrite:
    @pytest.mark.slow
    def test_each_copy_is_one_state(self, folder: Workspace) -> None:
        """With four processes writing pairs of facts, every copy is intact and holds no half of a pair."""
        settings = folder.settings.model_dump()
        writers = [
            context.Process(target=write_facts, args=(settings, folder.lake.root, f"writer{number}", 25))
            for number in range(4)
        ]
        for writer in writers:
            writer.start()
        copies = 0
        while any(writer.is_alive() for writer in writers) or not copies:
            made = backup(folder).made[0]
            assert backups.is_intact(made)
            with closing(sqlite3.connect(made.path)) as connection:
                facts = dict(connection.execute("SELECT key, value FROM meta").fetchall())
            assert all(value == facts[f"{key[:-2]}-b"] for key, value in facts.items() if key.endswith("-a"))
            copies += 1
        for writer in writers:
            writer.join(60)
            assert writer.exitcode == 0
        assert copies > 1
        with folder.ledger.read() as connection:
            last = connection.exec_driver_sql("SELECT value FROM meta WHERE key LIKE 'writer%-a'").all()
        assert last == [("24",)] * 4
        expected = rows(folder.lake.ledger_path)
        lose_and_restore(folder)
        assert rows(folder.lake.ledger_path) == expected
