"""SIGKILL at named points and random moments of the real commands and of Dagster runs: nothing lost, nothing twice.

What is checked after each restart is in `support.campaign`; where a process can be killed, in `support.killed`.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS
from dpdau_tests.conftest import RECORDS, REPOSITORY, KeepRecord
from dpdau_tests.support.campaign import World
from dpdau_tests.support.campaign_terms import RANDOM, Tally
from dpdau_tests.support.killed import POINTS
from dpdau_tests.support.processes import start

pytestmark = pytest.mark.untraced

QUICK_KILLS = {
    "first ingest": 2,
    "release": 2,
    "erase": 1,
    "ingest": 2,
    "flush-deletes": 2,
    "rotate-salt": 1,
    "rebuild": 2,
}
"""How often the first command of each kind is killed in the quick campaign."""
SLOW_KILLS = 300
LEAST_HITS = 10
WORLDS: tuple[dict[str, object], ...] = (
    {},
    {"sketch_impl": "kmv", "sketch_k": 4096},
    {"mechanism": "laplace", **{f"{name}_budget_total": 9 for name in METRICS}, "total_budget_month": 27},
    {"mechanism": "correlated", "journal_mirror_dir": "mirror"},
    {"mechanism": "joint", "keep_sources": "true"},
)
"""Settings of the worlds, in turn."""


class TestRecord:
    @pytest.mark.slow
    def test_it_is_kept_and_shown_when_the_campaign_fails_in_a_worker(self, tmp_path: Path) -> None:
        """What was counted up to a failure is in a file and in the summary of the session."""
        source = "def test_campaign(keep_record):\n    keep_record(lambda: 'rename  7 kills')\n    assert False\n"
        (tmp_path / "test_a.py").write_text(source)
        command = (sys.executable, "-m", "pytest", "-n", "1", "-q", "-p", "dpdau_tests.conftest", "test_a.py")
        done = subprocess.run(
            (*command, "--rootdir", str(tmp_path)),
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "rename  7 kills" in done.stdout
        assert "rename  7 kills" in (tmp_path / RECORDS / "test_campaign.txt").read_text()


class TestLauncher:
    def test_a_cold_process_dies_where_it_is_told_to(self, tmp_path: Path) -> None:
        """A new interpreter is killed at the second rename of `dpdau init`, and says so."""
        (tmp_path / "workspace.yaml").touch()
        died = start(tmp_path, ("dpdau", "init"), point="rename", nth=2, is_warm=False).wait()
        assert (died.code, died.died_at, died.counts["rename"]) == (-9, "rename", 2)

    @pytest.mark.slow
    def test_a_warm_process_that_is_not_killed_counts_its_points(self, tmp_path: Path) -> None:
        """A process forked from the server is another one, ends like the command, and says what it passed."""
        (tmp_path / "workspace.yaml").touch()
        done = start(tmp_path, ("dpdau", "init")).wait()
        assert (done.code, done.died_at, done.counts["answer"]) == (0, None, 1)
        assert start(tmp_path, ("dpdau", "status", "--nonsense")).wait().code == 2


class TestCampaign:
    def test_a_dozen_kills(self, tmp_path: Path) -> None:
        """Twelve kills, each at another point, spread over the commands of one story: everything holds after each."""
        tally, choice = Tally(), random.Random(12)
        world = World(tmp_path / "world", seed=12, tally=tally)

        def least(points: Sequence[str]) -> str:
            return min(points, key=lambda point: (tally.hits[point], choice.random()))

        left, due = dict(QUICK_KILLS), 0
        for command in world.story():
            if command.kind in left:
                due += left.pop("first ingest", None) or left.pop(command.kind)
                world.play(command, kills=due - tally.kills, least=least)
        for offset in range(6, 13):  # a command may end before it comes to its point
            if tally.kills < due:
                world.play(world.release(offset, offset), kills=due - tally.kills, least=least)
        world.finish()
        assert left == {}
        assert tally.kills == due == 12
        assert len(tally.hits) >= 8

    @pytest.mark.slow
    @pytest.mark.timeout(2400)
    def test_three_hundred_kills(self, tmp_path: Path, keep_record: KeepRecord) -> None:
        """At least 300 kills over many stories, every point at least ten times: everything holds after each."""
        tally, choice = Tally(), random.Random(300)
        keep_record(tally.table)

        def least(points: Sequence[str]) -> str:
            return min(points, key=lambda point: (tally.hits[point] + 2 * choice.random(), choice.random()))

        wanted = (*POINTS, RANDOM)
        for number in itertools.count():
            if tally.kills >= SLOW_KILLS and all(tally.hits[point] >= LEAST_HITS for point in wanted):
                break
            assert number < 60, "the campaign does not reach every point"
            world = World(tmp_path / f"world-{number}", seed=number, tally=tally, **WORLDS[number % len(WORLDS)])
            for command in world.story():
                kills = 1 if "dagster" in command.kind else choice.choice((1, 2, 2, 3))
                world.play(command, kills=kills, least=least)
            world.finish()
            world.retain(4, kills=choice.choice((1, 2, 3)), least=least)
            world.lose_the_ledger(kills=choice.choice((1, 2, 3)), least=least)
            world.finish()
        assert set(tally.hits) == set(wanted)
