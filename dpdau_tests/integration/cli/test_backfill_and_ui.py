"""`make backfill` prints its cost before it spends; `make ui` finds the right home and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.cli.launch import backfill, ui
from dpdau_assets.cli.launch.backfill import cost
from dpdau_assets.cli.launch.demo import FOLDER
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import InputError, NotClosedError, OperatorError, OutsideSeriesError, UsageError
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.orchestration.automation.heartbeat import is_daemon_alive, last_heartbeat
from dpdau_assets.settings.settings import Settings, create_project
from dpdau_tests.support.command_line import CommandLine, write_lines
from dpdau_tests.support.release_folders import add_activity, everybody, open_folder

pytestmark = pytest.mark.untraced

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def dpdau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """A project with one day of activity, as working directory and without settings in the environment."""
    for name in (*Settings.model_fields, "dagster_home"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    tight = {"MECHANISM": "gaussian", "DAU_BUDGET_TOTAL": "0.35"}
    dpdau = CommandLine(tmp_path, SERIES_START="2024-01-30", DAGSTER_HISTORY_DAYS="20000", **tight)
    dpdau.json("ingest", "--from", write_lines(tmp_path / "a.jsonl", [("a", "2024-01-30")]))
    yield dpdau


class TestBackfill:
    @pytest.mark.slow
    def test_the_cost_is_printed_first_and_is_what_is_spent(
        self, dpdau: CommandLine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The table says how many releases are missing and fit; afterwards exactly those are made, in one run."""
        dpdau.json("wau", "--end", "2024-01-30")
        with pytest.raises(OperatorError, match="dau 2024-01-31"):
            backfill.run("2024-01-30", "2024-02-01")
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["2024-01", "DAU", "2", "1"] in [row[:4] for row in rows]
        assert ["2024-01", "WAU", "1", "1"] in [row[:4] for row in rows]
        assert ["2024-02", "MAU", "1", "1"] in [row[:4] for row in rows]
        made = {name: dpdau.json("budget", name, "--month", "2024-01")["release_count"] for name in ("dau", "wau")}
        assert made == {"dau": 1, "wau": 2}

    def test_the_printed_losses_are_those_of_the_budget_afterwards(self, tmp_path: Path) -> None:
        """With default settings, over the turn of a month, the foretold losses are what `dpdau budget` shows after the
        releases: openings, and one search for a sampling threshold a metric, included."""
        workspace = open_folder(tmp_path, sketch_impl=Settings().sketch_impl)
        add_activity(workspace, everybody(50, days=40))
        days = DayRange(date(2025, 1, 30), date(2025, 2, 1))
        rows = [line.split() for line in cost(workspace, days).splitlines()]
        foretold = {(row[0], row[1].lower()): row[5] for row in rows if row[0].startswith("2025")}
        publish_releases(workspace, METRICS, days)
        found = {
            (period, metric): f"{report_budget(workspace, metric, period).epsilon_spent:.3f}"
            for period in ("2025-01", "2025-02")
            for metric in METRICS
        }
        assert foretold == found

    @pytest.mark.slow
    def test_days_that_are_released_cost_nothing(self, dpdau: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
        """A range that is released already says that it costs nothing."""
        dpdau.json("release", "--start", "2024-02-01", "--end", "2024-02-01")
        backfill.run("2024-02-01", "2024-02-01")
        assert "costs nothing" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("start", "end", "error"),
        [
            ("", "2024-02-01", UsageError),
            ("2024-02-02", "2024-02-01", UsageError),
            ("2024-01-01", "2024-02-01", OutsideSeriesError),
            ("2024-02-01", "2999-01-01", NotClosedError),
        ],
    )
    def test_the_calendar_is_checked_before_anything_runs(
        self, dpdau: CommandLine, start: str, end: str, error: type[Exception]
    ) -> None:
        """A range the calendar refuses is refused at once, and no Dagster home appears."""
        with pytest.raises(error):
            backfill.run(start, end)
        assert not (dpdau.data / "dagster").exists()

    def test_days_beyond_dagsters_history_are_refused(self, dpdau: CommandLine) -> None:
        """A day without a partition is refused, naming the command that reaches it."""
        (dpdau.folder / ".env").write_text("SERIES_START=2024-01-30\nDAGSTER_HISTORY_DAYS=2\n", encoding="utf-8")
        with pytest.raises(InputError, match="history"):
            backfill.run("2024-01-30", "2024-01-31")


class TestHome:
    def test_own_data_come_before_the_demo(self, dpdau: CommandLine) -> None:
        """With a data folder of one's own the pages show it; the demo is shown when asked for."""
        create_project(dpdau.folder / FOLDER, DATA_DIR=".")
        assert ui.choose_home(dpdau.folder, is_demo=False)[:2] == (dpdau.folder, dpdau.data / "dagster")
        assert ui.choose_home(dpdau.folder, is_demo=True)[1] == dpdau.folder / FOLDER / "dagster"

    def test_the_demo_is_shown_while_there_is_nothing_else(self, dpdau: CommandLine) -> None:
        """Without a ledger of one's own the demo is shown, with none of the caller's settings."""
        create_project(dpdau.folder / FOLDER, DATA_DIR=".")
        (dpdau.data / "ledgers" / "ledger.sqlite").unlink()
        os.environ["EPSILON_DAU"] = "0.2"
        try:
            folder, home, environment = ui.choose_home(dpdau.folder, is_demo=False)
        finally:
            del os.environ["EPSILON_DAU"]
        assert (folder, home) == (dpdau.folder / FOLDER, dpdau.folder / FOLDER / "dagster")
        assert environment["DAGSTER_HOME"] == str(home)
        assert "EPSILON_DAU" not in environment

    def test_a_demo_that_was_never_made_is_one_line(self, dpdau: CommandLine) -> None:
        """Asking for a demo that does not exist says how to make it."""
        with pytest.raises(OperatorError) as caught:
            ui.choose_home(dpdau.folder, is_demo=True)
        assert "make demo" in caught.value.hint


class TestProcesses:
    def test_a_stop_ends_every_child(self, tmp_path: Path) -> None:
        """SIGTERM to `make ui`'s process ends the processes it started, and it ends with 0."""
        child = "import pathlib, os, time; pathlib.Path(str(os.getpid())).touch(); time.sleep(600)"
        program = (
            "import os, pathlib, sys\nfrom dpdau_assets.cli.launch.ui import run_together\n"
            f"sys.exit(run_together([[sys.executable, '-c', {child!r}]] * 2, folder=pathlib.Path('.'), "
            "environment=os.environ))"
        )
        parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
        deadline = datetime.now(UTC) + timedelta(seconds=60)
        while len(list(tmp_path.iterdir())) < 2 and datetime.now(UTC) < deadline:
            os.sched_yield()
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(60) == 0
        pids = [int(path.name) for path in tmp_path.iterdir()]
        assert len(pids) == 2
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    def test_a_child_that_dies_is_told(self, tmp_path: Path) -> None:
        """When one process ends by itself the others are stopped and one line says so."""
        commands = [[sys.executable, "-c", "import time; time.sleep(600)"], [sys.executable, "-c", "pass"]]
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(OperatorError, match="ended by itself"):
                ui.run_together(commands, folder=tmp_path, environment=os.environ)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class TestHeartbeat:
    def test_a_recent_sign_of_life_counts(self, tmp_path: Path) -> None:
        """A heartbeat of the last 90 seconds means a daemon; an older one, an empty or a foreign home means none."""
        assert last_heartbeat(tmp_path) is None
        database = tmp_path / "history" / "runs.db"
        database.parent.mkdir()
        database.write_bytes(b"not a database")
        assert not is_daemon_alive(tmp_path, now=NOW)
        database.unlink()
        with sqlite3.connect(database) as connection:
            connection.execute("CREATE TABLE daemon_heartbeats (timestamp TEXT)")
            connection.execute("INSERT INTO daemon_heartbeats VALUES ('2024-03-01 11:59:00.000000')")
        assert is_daemon_alive(tmp_path, now=NOW)
        assert not is_daemon_alive(tmp_path, now=NOW + timedelta(seconds=60))
