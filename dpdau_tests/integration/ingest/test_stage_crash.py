"""SIGKILL at any step of staging: nothing is lost, nothing counts twice, and the inbox file goes only when it may."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import file_digest
from dpdau_assets.storage.ledger import batches, erasures
from dpdau_tests.support.crashes import count_steps, dies_at, sampled
from dpdau_tests.support.engine_reads import Row, write_jsonl
from dpdau_tests.support.workspaces import files_holding, key_files, new_workspace

pytestmark = pytest.mark.untraced

FIRST = date(2026, 3, 5)  # an epoch begins on 2026-03-08
GONE = "user-gone"
ROWS: list[Row] = [
    *((f"user-{n}", FIRST + timedelta(days=n % 5), None) for n in range(20)),
    (GONE, FIRST, None),
    (GONE, FIRST + timedelta(days=4), "-"),
    ("", FIRST, None),
]
NAME = "a.jsonl"
QUICK_POINTS = 3


def stage(workspace: Workspace) -> object:
    """Stages the inbox."""
    return stage_inbox(workspace, [NAME])


def filled(folder: Path) -> Workspace:
    """A data folder with one file in its inbox."""
    workspace = new_workspace(folder, series_start=FIRST)
    write_jsonl(workspace.lake.inbox / NAME, ROWS)
    return workspace


def state(workspace: Workspace) -> dict[str, Any]:
    """Everything that may be told of a folder after staging."""
    with workspace.ledger.read() as connection:
        files = batches.staged_between(connection)
        totals = batches.totals(connection)
        requests = [(one.request, one.users, one.through_day) for one in erasures.history(connection)]
        tombstones = {
            epoch: erasures.tombstones(connection, epoch).keys.tolist() for epoch in erasures.epochs(connection)
        }
    return {
        "key files": key_files(workspace),
        "rows": [(file.batch, file.day, file.epoch, file.digest) for file in files],
        "totals": (totals.batches, totals.events, totals.accepted),
        "requests": requests,
        "tombstones": tombstones,
        "reports": [path.name for path in sorted((workspace.lake.root / "reports").rglob("*.json"))],
        "inbox": [path.name for path in workspace.lake.inbox.iterdir()],
        "temporary": [path.name for path in workspace.lake.temporary_root.iterdir() if path.name != ".lock"],
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """The state after staging without a crash, and the number of its steps."""
    workspace = filled(tmp_path_factory.mktemp("whole"))
    steps = count_steps(stage, workspace)
    assert steps > QUICK_POINTS
    return state(workspace), steps


def check_death(folder: Path, step: int, expected: dict[str, Any]) -> None:
    """A death before `step` leaves the whole batch or none of it, and the next attempt ends like the first."""
    workspace = filled(folder)
    assert dies_at(step, stage, workspace)
    left = state(workspace)
    assert left["totals"] in ((0, 0, 0), expected["totals"])
    is_recorded = left["totals"] == expected["totals"]
    assert (left["rows"], left["tombstones"]) == (
        (expected["rows"], expected["tombstones"]) if is_recorded else ([], {})
    )
    assert left["inbox"] == [NAME] or is_recorded
    for batch, day, epoch, digest in left["rows"]:
        assert file_digest(workspace.lake.staging_path(day, batch=batch, epoch=epoch)) == digest
    stage(workspace)
    assert state(workspace) == expected


class TestStage:
    @pytest.mark.parametrize("point", range(QUICK_POINTS))
    @pytest.mark.one_is_enough
    def test_a_killed_stage_is_repeated_to_the_same_bytes(
        self, tmp_path: Path, point: int, finished: tuple[dict[str, Any], int]
    ) -> None:
        """Killed before any step, the batch is whole or absent, and staging again gives the state without a crash."""
        expected, steps = finished
        chosen = list(sampled(steps, count=QUICK_POINTS))
        check_death(tmp_path, chosen[point], expected)

    @pytest.mark.slow
    def test_a_stage_killed_at_every_step(self, tmp_path: Path, finished: tuple[dict[str, Any], int]) -> None:
        """The same for every single step."""
        expected, steps = finished
        for step in range(1, steps + 1):
            check_death(tmp_path / str(step), step, expected)

    @pytest.mark.slow
    def test_what_an_abandoned_stage_left_is_gone_after_an_erasure(
        self, tmp_path: Path, finished: tuple[dict[str, Any], int]
    ) -> None:
        """Files that a killed stage moved to staging without recording them do not survive an erasure's replay."""
        _, steps = finished
        for step in range(steps, 0, -1):
            workspace = filled(tmp_path / str(step))
            assert dies_at(step, stage, workspace)
            if key_files(workspace) and not state(workspace)["rows"]:
                break
        (workspace.lake.inbox / NAME).write_text('{"user_id": "user-7", "day": "2026-03-09", "op": "-"}\n')
        stage(workspace)
        flush_deletes(workspace)
        assert files_holding(workspace, "user-7", first=FIRST, last=FIRST + timedelta(days=4)) == []
