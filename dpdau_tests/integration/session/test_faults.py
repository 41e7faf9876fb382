"""Full, read-only and failing disks, a busy or full ledger, a clock set back: one clear line, and nothing is lost."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.storage.disk import file_systems
from dpdau_assets.storage.ledger import ledger as ledgers
from dpdau_tests.support.command_line import Answer, CommandLine, write_lines
from dpdau_tests.support.crashes import sampled
from dpdau_tests.support.faults import failing
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, everybody, open_folder

pytestmark = pytest.mark.untraced

FIRST = date(2024, 3, 5)
SETTINGS = {"SERIES_START": str(FIRST), "SKETCH_IMPL": "set", "MAU_WINDOW_DAYS": "10", "HASH_SALT_ROTATION_DAYS": "7"}
EARLY = [(f"user-{number % 15}", FIRST + timedelta(days=number % 6)) for number in range(40)]
LATE = [(f"user-{number % 20}", FIRST + timedelta(days=number * 5 % 8)) for number in range(60)]
LAST = FIRST + timedelta(days=7)
RANGE = ("--start", str(FIRST), "--end", str(LAST))
COMMANDS: dict[str, tuple[str, ...]] = {
    "ingest": ("ingest", "--from", "late.jsonl"),
    "release": ("release", *RANGE),
    "erase": ("erase", "user-3", "--through", str(LAST), "--wait"),
    "flush-deletes": ("flush-deletes",),
    "rebuild": ("rebuild", *RANGE),
    "rotate-salt": ("rotate-salt", "--effective", str(LAST + timedelta(days=1))),
    "export": ("export",),
    "report": ("report",),
    "backup": ("backup", "--lake"),
}
QUICK = ("ingest", "release", "erase", "backup")
QUICK_STEPS, SLOW_STEPS = 3, 12


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with released days, a staged batch and a pending erasure."""
    dpdau = CommandLine(tmp_path_factory.mktemp("begun"), **SETTINGS)
    write_lines(dpdau.folder / "early.jsonl", EARLY)
    write_lines(dpdau.folder / "late.jsonl", LATE)
    write_lines(dpdau.folder / "more.jsonl", [(f"more-{number}", FIRST) for number in range(5)])
    dpdau.json("ingest", "--from", "early.jsonl")
    dpdau.json("release", "--start", FIRST, "--end", FIRST + timedelta(days=1), "--metric", "dau")
    dpdau.json("ingest", "--from", "more.jsonl")
    dpdau.json("erase", "user-1", "--through", LAST)
    return dpdau


def copy_of(dpdau: CommandLine, folder: Path) -> CommandLine:
    """A project with the same files."""
    shutil.copytree(dpdau.folder, folder)
    return CommandLine(folder)


def truth(dpdau: CommandLine) -> tuple[Any, ...]:
    """Everything that may not be lost: counts, releases, requests."""
    counts = dpdau.json("trusted-counts", *RANGE)
    with closing(sqlite3.connect(dpdau.data / "ledgers" / "ledger.sqlite")) as connection:
        releases = connection.execute("SELECT metric, day, revision FROM releases ORDER BY 1, 2, 3").fetchall()
        requests = connection.execute("SELECT through_day, users FROM erasure_requests").fetchall()
    return counts, releases, sorted(set(requests))


def check_refused(answer: Answer, *words: str) -> None:
    """Exit code 1 and one clear line, for a person to act upon."""
    assert (answer.code, answer.out) == (1, "")
    lines = answer.err.strip().splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("dpdau: ")
    assert "unexpected" not in lines[0]
    assert ";" in lines[0], "an error names the next step"
    for word in words:
        assert word in lines[0].lower(), lines[0]


def check_every(begun: CommandLine, folder: Path, name: str, number: int, *, steps: int) -> None:
    """The disk fails at steps of a command; once it works again the command ends as if nothing had happened."""
    whole = copy_of(begun, folder / "whole")
    with failing(whole.data, number, after=None) as disk:
        assert whole(*COMMANDS[name]).code == 0
    expected = truth(whole)
    assert disk.calls > 0
    for step in sampled(disk.calls, count=steps):
        dpdau = copy_of(begun, folder / f"step-{step}")
        with failing(dpdau.data, number, after=step - 1) as disk:
            answer = dpdau(*COMMANDS[name])
        assert disk.failed > 0
        if answer.code != 0:  # what could not be cleaned up at the end is cleaned up later
            check_refused(answer)
        again = dpdau(*COMMANDS[name])
        assert again.code == 0, f"step {step} of {name}: {again.err}"
        assert truth(dpdau) == expected, f"step {step} of {name}"
        dpdau("flush-deletes")
        verified = dpdau("verify")
        assert verified.code == 0, f"step {step} of {name}: {verified.out}"


class TestDisk:
    @pytest.mark.parametrize(
        "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]
    )
    @pytest.mark.one_is_enough
    def test_a_command_on_a_disk_that_fills_up(self, begun: CommandLine, tmp_path: Path, name: str) -> None:
        """From any step on the disk is full: one line, and the same command continues when there is space."""
        check_every(begun, tmp_path, name, errno.ENOSPC, steps=QUICK_STEPS)

    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
    @pytest.mark.parametrize("name", COMMANDS)
    def test_many_steps_of_many_disks(self, begun: CommandLine, tmp_path: Path, name: str, number: int) -> None:
        """The same for more steps, and for disks past a quota, that can only be read, or that fail to write."""
        check_every(begun, tmp_path, name, number, steps=SLOW_STEPS)

    @pytest.mark.parametrize("name", COMMANDS)
    @pytest.mark.one_is_enough
    def test_a_read_only_disk(self, begun: CommandLine, tmp_path: Path, name: str) -> None:
        """The message says what cannot be written and whose right is missing; nothing is changed."""
        dpdau = copy_of(begun, tmp_path / "copy")
        before = truth(copy_of(begun, tmp_path / "other"))
        with failing(dpdau.data, errno.EROFS, after=0):
            check_refused(dpdau(*COMMANDS[name]), "read-only file system", "write access")
        assert truth(dpdau) == before


@contextmanager
def held(dpdau: CommandLine) -> Iterator[None]:
    """Another program in the middle of a write transaction."""
    with closing(sqlite3.connect(dpdau.data / "ledgers" / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class TestLedger:
    def pragmas(self, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
        kept = [pragma for pragma in ledgers.PRAGMAS if not more[0].startswith(pragma.split("=")[0])]
        monkeypatch.setattr(ledgers, "PRAGMAS", (*kept, *more))

    @pytest.mark.parametrize("name", ["ingest", "release", "erase", "flush-deletes", "rebuild", "rotate-salt"])
    @pytest.mark.one_is_enough
    def test_a_busy_ledger(
        self, begun: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Another writer that does not end: one line after the patience is over, and the repeat does all of it."""
        dpdau, whole = copy_of(begun, tmp_path / "copy"), copy_of(begun, tmp_path / "whole")
        assert whole(*COMMANDS[name]).code == 0
        with monkeypatch.context() as patched, held(dpdau):
            self.pragmas(patched, "PRAGMA busy_timeout = 50")
            check_refused(dpdau(*COMMANDS[name]), "busy", "repeat")
        assert dpdau(*COMMANDS[name]).code == 0
        assert truth(dpdau) == truth(whole)

    @pytest.mark.parametrize("name", ["ingest", "erase"])
    @pytest.mark.one_is_enough
    def test_a_ledger_that_cannot_grow(
        self, begun: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """SQLite itself finds the disk full inside a transaction: nothing of it stays, and the repeat does all."""
        dpdau, whole = copy_of(begun, tmp_path / "copy"), copy_of(begun, tmp_path / "whole")
        lines = [(f"user-{number}", FIRST + timedelta(days=number % 90)) for number in range(3000)]
        for each in (dpdau, whole):
            write_lines(each.folder / "late.jsonl", lines)
            write_lines(each.folder / "many.jsonl", lines)
        command = COMMANDS["ingest"] if name == "ingest" else ("erase", "--from", "many.jsonl", "--through", str(LAST))
        with closing(sqlite3.connect(dpdau.data / "ledgers" / "ledger.sqlite", isolation_level=None)) as connection:
            connection.execute("VACUUM")  # no free page inside
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        assert whole(*command).code == 0
        with monkeypatch.context() as patched:
            self.pragmas(patched, f"PRAGMA max_page_count = {pages + 3}")
            check_refused(dpdau(*command), "disk is full")
        assert dpdau(*command).code == 0
        assert truth(dpdau) == truth(whole)

    def test_a_ledger_that_can_only_be_read(
        self, begun: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Questions about stored values are answered; whatever must write says in one line that it cannot."""
        dpdau = copy_of(begun, tmp_path / "copy")
        self.pragmas(monkeypatch, "PRAGMA query_only = ON")
        assert dpdau.json("dau", "--day", FIRST)["metric"] == "dau"
        for name in ("ingest", "erase", "rotate-salt", "release"):
            check_refused(dpdau(*COMMANDS[name]), "not writable", "write access")

    def test_a_ledger_on_a_network_file_system(
        self, begun: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Every command refuses with one line before it touches the file."""
        dpdau = copy_of(begun, tmp_path / "copy")
        mounts = tmp_path / "mounts"
        mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {dpdau.data} nfs4 rw 0 0\n")
        monkeypatch.setattr(file_systems, "MOUNTS", mounts)
        before = (dpdau.data / "ledgers" / "ledger.sqlite").read_bytes()
        for name in COMMANDS:
            check_refused(dpdau(*COMMANDS[name]), "network file system", "nfs4", "database_url")
        assert (dpdau.data / "ledgers" / "ledger.sqlite").read_bytes() == before


class TestSalts:
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
    def test_a_store_that_cannot_be_moved_is_kept(
        self, begun: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        """The ledger has recorded a rotation and the disk refuses the rename: the new secrets are not lost."""
        dpdau = copy_of(begun, tmp_path / "copy")
        real = os.replace

        def refuse(source: Any, target: Any) -> None:
            if str(target).endswith("salts.json"):
                raise OSError(number, os.strerror(number))
            real(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", refuse)
            check_refused(dpdau(*COMMANDS["rotate-salt"]), "salts.json")
        assert dpdau.json(*COMMANDS["rotate-salt"])["already_made"]
        assert len(dpdau.json("salts")["rotations"]) == 1
        assert dpdau.json("ingest", "--from", "late.jsonl")["accepted"] == len(LATE)


class TestClock:
    def test_a_clock_set_back_changes_nothing(self, tmp_path: Path) -> None:
        """What was closed stays closed: the time of the ledger never goes back, neither in a new process."""
        late = datetime(2025, 1, 3, 12, tzinfo=UTC)
        workspace = open_folder(tmp_path, now=late)
        add_activity(workspace, everybody(20, days=2))
        first = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR)).values
        workspace.close()
        earlier = open_folder(tmp_path, now=late - timedelta(days=300))
        assert earlier.now() >= late
        days = DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=1))
        again = publish_releases(earlier, ("dau",), days)
        assert again.values[0] == first[0]
        assert [day for _, day in again.newly_released] == [days.last]
        with earlier.ledger.read() as connection:
            times = connection.exec_driver_sql("SELECT released_at FROM releases ORDER BY charge").scalars().all()
        assert times == sorted(times)
