"""Many processes at once: one ledger, one secret, no overspending, no lost update."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url

from dpdau_assets.core.dp_events import DiscreteGaussianEvent
from dpdau_assets.errors import StorageError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts
from dpdau_assets.storage.ledger import ledger as ledgers
from dpdau_assets.storage.ledger.ledger import Ledger, create_or_open, get_meta, set_meta

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = date(2026, 1, 5)
PROCESSES = 16
CAP = 2
EVENT = DiscreteGaussianEvent(13.0)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class DeferredLedger(Ledger):
    """A ledger whose writers begin as readers do, without asking to be the only one."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self.read() as connection:
            yield connection


def open_folder(folder: str) -> str:
    """Opens a data folder; what a process sees of its ledger and its secret."""
    workspace = open_workspace(Settings(data_dir=Path(folder)))
    return f"{workspace.ledger_id} {workspace.salts.epoch_key(0).decode()}"


def increment(url: str) -> str:
    """Adds one to a number in the ledger, ten times."""
    ledger = create_or_open(url)
    for _ in range(10):
        with ledger.write() as connection:
            set_meta(connection, "counter", str(int(get_meta(connection, "counter") or 0) + 1))
    return "done"


def spend(url: str) -> str:
    """Checks the spend against the cap and charges once if there is room."""
    with create_or_open(url).write() as connection:
        account = accounts.current_account(connection, "dau", "2026-01")
        assert account is not None
        spent = sum(count for _, count in accounts.events_of_account(connection, account))
        if spent >= CAP:
            return "refused"
        accounts.insert_charge(connection, account, day=DAY, kind="release", events=[EVENT], now=NOW)
    return "charged"


def answer(task: Callable[[str], str], argument: str, start: Any, answers: Any) -> None:
    """Runs in a process of its own: waits for the others, then does its task."""
    start.wait(timeout=120)
    answers.put(task(argument))


def run_together(task: Callable[[str], str], argument: str) -> list[str]:
    """Starts 16 processes that do the task at once, and returns what each answered."""
    start, answers = _context.Barrier(PROCESSES), _context.SimpleQueue()
    started = [_context.Process(target=answer, args=(task, argument, start, answers)) for _ in range(PROCESSES)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=200)
    assert [process.exitcode for process in started] == [0] * PROCESSES
    return [answers.get() for _ in started]


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/ledgers/ledger.sqlite"


def open_account(ledger: Ledger) -> accounts.Account:
    with ledger.write() as connection:
        return accounts.open_account(
            connection,
            "dau",
            "2026-01",
            mechanism="gaussian",
            parameters={},
            epsilon_cap=3.0,
            delta=1e-6,
            month_cap=6.0,
            year_cap=29.0,
            now=NOW,
        )


def charged(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return sum(count for _, count in accounts.lifetime_events(connection))


class TestSixteenProcesses:
    def test_a_new_folder_is_created_once(self, tmp_path: Path) -> None:
        """All processes that open a new data folder at once see one ledger and one secret."""
        answers = set(run_together(open_folder, str(tmp_path / "data")))
        assert len(answers) == 1
        workspace = open_workspace(Settings(data_dir=tmp_path / "data"), create=False)
        assert answers == {f"{workspace.ledger_id} {workspace.salts.epoch_key(0).decode()}"}

    def test_no_increment_is_lost(self, tmp_path: Path) -> None:
        """Read, add one, write, 160 times from 16 processes over a new ledger: the sum is 160."""
        assert set(run_together(increment, url_of(tmp_path))) == {"done"}
        ledger = create_or_open(url_of(tmp_path))
        with ledger.read() as connection:
            assert get_meta(connection, "counter") == str(10 * PROCESSES)

    def test_a_cap_is_never_overspent(self, tmp_path: Path) -> None:
        """Of 16 processes that check and charge at once, exactly as many succeed as the cap allows."""
        ledger = create_or_open(url_of(tmp_path))
        open_account(ledger)
        answers = run_together(spend, url_of(tmp_path))
        assert answers.count("charged") == CAP
        assert charged(ledger) == CAP


class TestTwoConnections:
    def spend(
        self, ledger: Ledger, account: accounts.Account, both_read: threading.Barrier, outcome: list[str]
    ) -> None:
        """Checks, waits until the other has checked as well (or is kept waiting), then charges."""
        with ledger.write() as connection:
            spent = sum(count for _, count in accounts.events_of_account(connection, account))
            try:
                both_read.wait(timeout=0.5)
                outcome.append("both read at once")
            except threading.BrokenBarrierError:
                pass
            if spent >= CAP:
                outcome.append("refused")
                return
            accounts.insert_charge(connection, account, day=DAY, kind="release", events=[EVENT], now=NOW)
            outcome.append("charged")

    def test_both_read_then_both_insert_is_impossible(self, tmp_path: Path) -> None:
        """With 1 of 2 spent, two connections that read before either inserts cannot make it 3."""
        ledger = create_or_open(url_of(tmp_path))
        account = open_account(ledger)
        with ledger.write() as connection:
            accounts.insert_charge(connection, account, day=DAY, kind="release", events=[EVENT], now=NOW)
        outcome: list[str] = []
        both_read = threading.Barrier(2)
        threads = [
            threading.Thread(target=self.spend, args=(create_or_open(url_of(tmp_path)), account, both_read, outcome))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcome) == ["charged", "refused"]
        assert charged(ledger) == CAP

    def test_the_danger_is_real_without_our_begin(self, tmp_path: Path) -> None:
        """With deferred transactions both connections do read before either writes: the test above can fail."""
        ledger = create_or_open(url_of(tmp_path))
        account = open_account(ledger)
        deferred = [DeferredLedger(make_url(url_of(tmp_path))) for _ in range(2)]
        outcome: list[str] = []
        both_read = threading.Barrier(2)

        def attempt(each: Ledger) -> None:
            try:
                self.spend(each, account, both_read, outcome)
            except StorageError:
                outcome.append("collided")

        threads = [threading.Thread(target=attempt, args=(each,)) for each in deferred]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcome.count("both read at once") == 2

    def test_a_writer_that_waits_too_long_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Past the busy timeout the second writer gets a StorageError and has stored nothing."""
        ledger = create_or_open(url_of(tmp_path))
        account = open_account(ledger)
        monkeypatch.setattr(ledgers, "PRAGMAS", ("PRAGMA busy_timeout = 100", *ledgers.PRAGMAS[1:]))
        impatient = Ledger(ledgers.make_url(url_of(tmp_path)))
        with ledger.write(), pytest.raises(StorageError, match="is busy"), impatient.write() as connection:
            accounts.insert_charge(connection, account, day=DAY, kind="release", events=[EVENT], now=NOW)
        assert charged(ledger) == 0


class TestKilledWriter:
    def test_a_killed_writer_leaves_all_or_nothing(self, tmp_path: Path) -> None:
        """A process killed inside its transaction leaves nothing of it, and the next writer goes on."""
        ledger = create_or_open(url_of(tmp_path))
        script = (
            "import sys, time\n"
            "from dpdau_assets.storage.ledger.ledger import create_or_open, set_meta\n"
            "with create_or_open(sys.argv[1]).write() as connection:\n"
            "    set_meta(connection, 'half', 'done')\n"
            "    print('inside', flush=True)\n"
            "    time.sleep(60)\n"
        )
        writer = subprocess.Popen([sys.executable, "-c", script, url_of(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None and writer.stdout.readline() == "inside\n"
        writer.kill()
        writer.communicate()
        with ledger.write() as connection:
            assert get_meta(connection, "half") is None
