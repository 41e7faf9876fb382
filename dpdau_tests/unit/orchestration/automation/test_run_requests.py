"""Asking for a run until the work is done."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg
import pytest

from dpdau_assets.orchestration.automation.run_requests import (
    NEWEST,
    PLANNED_RUN_TAG,
    PlannedRun,
    ask_for,
    has_run_under_way,
    pause_seconds,
)

PLANNED = PlannedRun("some_job", "work-1", tags={"a": "b"})


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def _run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    instance.create_run_for_job(_some_job, tags={PLANNED_RUN_TAG: PLANNED.name}, status=status)


@dg.op
def _nothing() -> None: ...


@dg.job(name="some_job")
def _some_job() -> None:
    _nothing()


class TestAskFor:
    def test_the_first_request_carries_the_name_of_the_work(self, instance: dg.DagsterInstance) -> None:
        """The run is tagged with the name of the work, so that later ticks find its attempts."""
        request = ask_for(PLANNED, instance, now=time.time())
        assert isinstance(request, dg.RunRequest)
        assert (request.run_key, request.job_name) == ("work-1/0", "some_job")
        assert request.tags[PLANNED_RUN_TAG] == "work-1"
        assert request.tags["a"] == "b"

    def test_nobody_asks_while_an_attempt_is_under_way(self, instance: dg.DagsterInstance) -> None:
        """A second run for the same work is asked for only when the first has ended or is stale."""
        _run(instance, dg.DagsterRunStatus.STARTED)
        assert isinstance(ask_for(PLANNED, instance, now=time.time()), dg.SkipReason)
        assert isinstance(ask_for(PLANNED, instance, now=time.time() + 7200), dg.RunRequest)

    @pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS])
    def test_work_that_is_not_done_is_asked_for_again_under_a_new_key(
        self, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
    ) -> None:
        """A run that ended without finishing the work is followed by another, after a pause."""
        _run(instance, status)
        assert isinstance(ask_for(PLANNED, instance, now=time.time()), dg.SkipReason)
        request = ask_for(PLANNED, instance, now=time.time() + 120)
        assert isinstance(request, dg.RunRequest)
        assert request.run_key == "work-1/1"

    def test_the_key_changes_after_any_number_of_attempts(self, instance: dg.DagsterInstance) -> None:
        """A key that was used would never be honoured again, so more attempts than are looked at still count."""
        for number in range(NEWEST, NEWEST + 3):
            while instance.get_runs_count() < number:
                _run(instance, dg.DagsterRunStatus.FAILURE)
            request = ask_for(PLANNED, instance, now=time.time() + 7200)
            assert isinstance(request, dg.RunRequest)
            assert request.run_key == f"work-1/{number}"

    def test_pauses_grow_to_an_hour_and_stay_there(self) -> None:
        """The pause doubles from a minute and never passes an hour, however many attempts there were."""
        pauses = [pause_seconds(attempts) for attempts in (1, 2, 3, 7, 1000)]
        assert pauses == [60, 120, 240, 3600, 3600]


class TestHasRunUnderWay:
    def test_only_recent_unfinished_runs_of_the_job_count(self, instance: dg.DagsterInstance) -> None:
        """A finished run, a stale one and one of another job do not."""
        assert not has_run_under_way(instance, now=time.time())
        _run(instance, dg.DagsterRunStatus.SUCCESS)
        assert not has_run_under_way(instance, now=time.time())
        _run(instance, dg.DagsterRunStatus.STARTING)
        assert has_run_under_way(instance, now=time.time())
        assert has_run_under_way(instance, now=time.time(), job_name="some_job")
        assert not has_run_under_way(instance, now=time.time(), job_name="other_job")
        assert not has_run_under_way(instance, now=time.time() + 7200)
