"""Many processes over one data folder at once: each value drawn once, nothing lost, every command ends well.

Sixteen processes ask for the same and for different releases while others ingest, erase, rebuild, back up, verify, list
and export. Real commands in processes of their own; what must hold afterwards is in `support.campaign`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_tests.support.campaign import World
from dpdau_tests.support.campaign_terms import DAYS, LAST, Command, Tally, day
from dpdau_tests.support.processes import Ended, start

pytestmark = pytest.mark.untraced

ASKING = 16
Answer = tuple[str, str, int]


def ask(first: int, last: int, *options: str) -> tuple[str, ...]:
    """The command line that asks for releases of some days."""
    return ("dpdau", "release", "--start", str(day(first)), "--end", str(day(last)), "--json", *options)


def asking(days: Sequence[int], *, seed: int) -> list[tuple[str, ...]]:
    """Sixteen questions: half of them the same, the others for one metric of some days each."""
    choice = random.Random(seed)
    same = [ask(days[0], days[0]) for _ in range(ASKING // 2)]
    others = [
        ask(min(pair), max(pair), "--metric", choice.choice(("dau", "wau", "mau")))
        for pair in (choice.choices(days, k=2) for _ in range(ASKING - len(same)))
    ]
    return [*same, *others]


def together(world: World, lines: Sequence[tuple[str, ...]], commands: Sequence[Command]) -> list[Ended]:
    """Starts everything at once; how each question ended, once all have. The commands are acknowledged then."""
    background = [start(world.folder, command.line, stdin=command.stdin) for command in commands]
    questions = [start(world.folder, line) for line in lines]
    ended = [question.wait() for question in questions]
    for command, running in zip(commands, background, strict=True):
        done = running.wait()
        assert done.code == 0, f"{command.kind}: {done.err}"
        world.acknowledge(command)
    wrong = [done.err for done in ended if done.code != 0]
    assert wrong == []
    return ended


def released(world: World) -> dict[Answer, float]:
    """What the ledger says is the first value of each metric and day."""
    workspace = open_workspace(world.settings, create=False)
    with workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT metric, day, revision, result FROM releases").all()
    workspace.close()
    return {(row[0], row[1], row[2]): float(json.loads(row[3])["estimate"]) for row in rows}


def check_answers(world: World, ended: Sequence[Ended]) -> None:
    """Everybody was told what the ledger holds."""
    stored = released(world)
    for done in ended:
        bodies = json.loads(done.out)
        assert bodies != []
        for body in bodies:
            assert stored[body["metric"], body["day"], body["revision"]] == body["estimate"]


def others(world: World, name: str, *, gone: int) -> list[Command]:
    """What happens meanwhile: a file with an erasure in it, two erasures, a rebuild, a backup, and readers."""
    erasures = ((f"gone-{gone}", day(6)),)
    plain = [("dpdau", "verify"), ("dpdau", "status", "--json"), ("dpdau", "export"), ("dpdau", "erasures")]
    return [
        world.ingest(f"{name}.jsonl", world.activity(0, 12), erasures),
        world.erase((f"gone-{(gone + 1) % 6}",), day(12), "--wait"),
        world.erase((f"gone-{(gone + 2) % 6}",), LAST),
        Command("rebuild", ("dpdau", "rebuild", "--start", str(day(0)), "--end", str(LAST)), ()),
        Command("backup", ("dpdau", "backup", "--lake"), ()),
        *(Command(line[1], line, ()) for line in plain),
    ]


class TestConcurrency:
    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("mechanism", ["gaussian", "correlated"])
    def test_rounds_of_sixteen(self, tmp_path: Path, mechanism: str) -> None:
        """Ten rounds: sixteen ask while files, erasures, a rebuild, a backup, listings, exports, verifications and
        runs of Dagster go on; one value each, the same for everybody."""
        world = World(tmp_path / "world", seed=6, tally=Tally(), mechanism=mechanism)
        together(world, [], [world.ingest("first.jsonl", world.activity(0, 9), ())])
        for number in range(10):
            run = [world.dagster("erasure_replay_job", DAYS)] if number % 3 == 0 else []
            days = range(number, min(number + 4, 13))
            ended = together(
                world, asking(days, seed=number), [*others(world, f"round-{number}", gone=number % 6), *run]
            )
            check_answers(world, ended)
            world.check()
        world.finish()
