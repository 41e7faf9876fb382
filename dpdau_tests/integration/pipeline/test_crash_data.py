"""SIGKILL at any step of fold, replay and rebuild: the next run ends where an uninterrupted one ends, to the byte."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.crashes import Operation, count_steps, dies_at, sampled
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import (
    LONG_AFTER,
    Event,
    copy_of,
    digests,
    files_holding,
    key_files,
    new_workspace,
    stage_activity,
)

pytestmark = pytest.mark.untraced

FIRST = date(2026, 3, 5)  # an epoch begins on 2026-03-08
DAYS = DayRange(FIRST, FIRST + timedelta(days=6))
EARLIER: list[Event] = [(f"user-{n}", FIRST + timedelta(days=n % 5)) for n in range(20)]
LATER: list[Event] = [(f"user-{n}", FIRST + timedelta(days=(n * 3) % 7)) for n in range(30)]
GONE = "user-3"
QUICK_POINTS = 4


def build(workspace: Workspace) -> object:
    return bring_up_to_date(workspace, DAYS)


def flush(workspace: Workspace) -> object:
    return flush_deletes(workspace)


def rebuild_all(workspace: Workspace) -> object:
    return rebuild(workspace, DAYS)


def state(workspace: Workspace) -> tuple[dict[str, bytes], dict[Any, str]]:
    return key_files(workspace), digests(workspace)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built folder with a second batch that is staged and an erasure that is pending."""
    workspace = new_workspace(tmp_path_factory.mktemp("begun"), sketch_k=16, series_start=FIRST)
    stage_activity(workspace, EARLIER)
    bring_up_to_date(workspace, DAYS)
    stage_activity(workspace, LATER)
    request_erasure(workspace, [GONE.encode()], through=DAYS.last, now=LONG_AFTER)
    return workspace


def check_every(points: int, begun: Workspace, folder: Path, operation: Operation) -> None:
    """Dies at steps of `operation`, runs it again to the end, and compares with an uninterrupted run."""
    whole = copy_of(begun, folder / "whole")
    steps = count_steps(operation, whole)
    assert steps > 20
    expected = state(whole)
    for step in sampled(steps, count=points):
        workspace = copy_of(begun, folder / f"dies-{step}")
        assert dies_at(step, operation, workspace)
        dies_at(max(1, step // 2), operation, workspace)  # and once more on the way to recovery
        operation(workspace)
        assert state(workspace) == expected, f"killed before step {step} of {steps}"
        assert [path.name for path in workspace.lake.temporary_root.iterdir()] == [".lock"]
        if operation is not flush:
            counts = count_trusted(workspace, DAYS.first, DAYS.last)
            assert counts == naive_counts([*EARLIER, *LATER], [(GONE, DAYS.last)], DAYS)
        assert files_holding(workspace, GONE, first=DAYS.first, last=DAYS.last) == []


class TestCrashes:
    @pytest.mark.parametrize("operation", [build, flush, rebuild_all])
    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_a_killed_operation_is_completed_by_the_next(
        self, begun: Workspace, tmp_path: Path, operation: Operation
    ) -> None:
        """Killed twice at spread steps and run again, files and digests are those of one uninterrupted run."""
        check_every(QUICK_POINTS, begun, tmp_path, operation)

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    @pytest.mark.parametrize("operation", [build, flush, rebuild_all])
    def test_every_step_can_be_the_last(self, begun: Workspace, tmp_path: Path, operation: Operation) -> None:
        """The same for every single step of the operation."""
        check_every(10_000, begun, tmp_path, operation)

    @pytest.mark.slow
    def test_an_erasure_after_a_crash_is_not_undone_by_recovery(self, begun: Workspace, tmp_path: Path) -> None:
        """A fold dies, then a user of its batch is erased and flushed: recovery and later folds bring nobody back."""
        steps = count_steps(build, copy_of(begun, tmp_path / "whole"))
        for step in sampled(steps, count=5):
            workspace = copy_of(begun, tmp_path / f"dies-{step}")
            assert dies_at(step, build, workspace)
            request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER)
            flush_deletes(workspace)
            assert files_holding(workspace, "user-7", first=DAYS.first, last=DAYS.last) == []
            counts = count_trusted(workspace, DAYS.first, DAYS.last)
            erased = [(GONE, DAYS.last), ("user-7", DAYS.last)]
            assert counts == naive_counts([*EARLIER, *LATER], erased, DAYS)
