"""One run of a job over a range of days in this process, recorded in a persistent Dagster home.

Dagster concept: a partition range run. What the job does belongs to `jobs` and `assets`; who wants the run (the demo,
a manual backfill) to the command line.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.orchestration.instance.home import create_home
from dpdau_assets.orchestration.partitions import range_tags
from dpdau_assets.settings.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Everything is in the run's own log in the home; nothing is printed."""

NO_CAPTURE = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}
"""Our standard output is the caller's terminal: Dagster would redirect it, and start a process to follow it."""


@dataclass(frozen=True, slots=True)
class RangeRun:
    """How a run ended.

    Attributes:
        run_id: Names the run in Dagster's pages.
        failures: One line for each failed step: its name and our own message.
    """

    run_id: str
    failures: tuple[str, ...]


def run_range(settings: Settings, days: DayRange, *, home: Path, job_name: str = "daily_release_job") -> RangeRun:
    """Run a job once over all of `days` and wait for its end.

    Args:
        settings: The data folder and everything else.
        days: Closed days that have partitions (public).
        home: The Dagster home, created when missing.
        job_name: One of the partitioned jobs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        create_home(home)
        job = build_definitions(settings).resolve_job_def(job_name)
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=NO_CAPTURE)) as instance:
            result = job.execute_in_process(
                instance=instance, tags=range_tags(days), raise_on_error=False, run_config=QUIET
            )
    failures = (event for event in result.all_node_events if event.is_step_failure)
    return RangeRun(result.run_id, tuple(f"{event.step_key}: {_message(event)}" for event in failures))


def _message(event: dg.DagsterEvent) -> str:
    """The message that the failed step gave, without a stack."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return str(failure.user_failure_data.description)
    innermost = failure.error.cause or failure.error if failure.error else None
    return innermost.message.strip().splitlines()[0] if innermost else "failed"
