"""Asking for a run until the ledger shows the work done.

Dagster concept: run request and run key. A run key is honoured once for ever, also when its run failed. Therefore a
planned run is named after the state of the ledger that calls for it, and its key also counts the attempts made. Which
runs are needed is decided by the sensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

PLANNED_RUN_TAG = "dpdau/errand"
"""Stands in the run histories of existing folders, so its text never changes."""
FIRST_PAUSE_SECONDS = 60
LONGEST_PAUSE_SECONDS = 3600
NEWEST = 100
STALE_AFTER_SECONDS = 3600
"""A run that has not ended after this time no longer keeps another from starting: the lake lock orders them anyway."""

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that work in the ledger calls for.

    Attributes:
        job_name: The job.
        name: Names the work and the ledger's state that calls for it; the same work later has another name.
        tags: Further run tags.
        run_config: The run's configuration.
    """

    job_name: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    run_config: Mapping[str, Any] = field(default_factory=dict)


def ask_for(planned: PlannedRun, instance: dg.DagsterInstance, *, now: float) -> dg.RunRequest | dg.SkipReason:
    """A request for the next attempt at the planned run, or why there is none now.

    While an attempt is under way nobody asks again; after one that ended without the work being done the next is
    asked for after a pause that doubles from a minute to an hour, without end.

    Args:
        planned: The run that is wanted.
        instance: Where earlier attempts are recorded.
        now: Unix time.
    """
    own = dg.RunsFilter(tags={PLANNED_RUN_TAG: planned.name})
    records = instance.get_run_records(own, limit=NEWEST)
    for record in records:
        if record.dagster_run.status in UNFINISHED and now - record.create_timestamp.timestamp() < STALE_AFTER_SECONDS:
            return dg.SkipReason(f"{planned.name}: a run is under way")
    attempts = instance.get_runs_count(own)  # not of the newest alone: the key must change with every attempt
    if attempts:
        ended = max(record.end_time or record.create_timestamp.timestamp() for record in records)
        wait = ended + pause_seconds(attempts) - now
        if wait > 0:
            return dg.SkipReason(f"{planned.name}: {attempts} attempts did not finish it; next in {wait:.0f} s")
    return dg.RunRequest(
        run_key=f"{planned.name}/{attempts}",
        job_name=planned.job_name,
        tags={**planned.tags, PLANNED_RUN_TAG: planned.name},
        run_config=dict(planned.run_config),
    )


def pause_seconds(attempts: int) -> float:
    """How long to wait after the given number of attempts, 1 or more."""
    return float(min(FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 10), LONGEST_PAUSE_SECONDS))


def has_run_under_way(instance: dg.DagsterInstance, *, now: float, job_name: str | None = None) -> bool:
    """Whether a run, of `job_name` if given, has not ended and is not stale."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=list(UNFINISHED)), limit=NEWEST)
    return any(now - record.create_timestamp.timestamp() < STALE_AFTER_SECONDS for record in records)
