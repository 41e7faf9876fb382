"""Retention as a job of its own, once a day.

Dagster concept: an op job, because what goes is a matter of the calendar and spans every asset; its schedule asks for
nothing while RETENTION_DAYS is not set. What goes, and how, belongs to `operations.apply_retention`.
"""

import dagster as dg

from dpdau_assets.operations.apply_retention import apply_retention
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.resources import LakeResource
from dpdau_assets.settings import Settings

AT_HALF_PAST_ONE = "30 1 * * *"
"""After midnight, when another day has come of age, and before the usual releases."""


@dg.op(retry_policy=RETRY_STORAGE)
def drop_what_is_past_retention(context: dg.OpExecutionContext, lake: dg.ResourceParam[LakeResource]) -> None:
    """Drops key-level data, tombstones and secrets past RETENTION_DAYS; counts of windows and releases stay."""
    with plain_failures(), lake.open() as workspace:
        done = apply_retention(workspace)
    context.add_output_metadata(
        {"held from": str(done.held_from or "the beginning"), "first salt epoch left": done.lowest_epoch}
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Drops key-level data, tombstones and secrets past RETENTION_DAYS. It never touches a release.",
)
def retention_job() -> None:
    """Applies retention once."""
    drop_what_is_past_retention()


def retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """`retention_schedule`."""

    @dg.schedule(
        name="retention_schedule",
        job=retention_job,
        cron_schedule=AT_HALF_PAST_ONE,
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Drops what is past RETENTION_DAYS, once a day; the next run makes up for a missed one.",
    )
    def daily_retention(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if settings.retention_days is None:
            return dg.SkipReason("RETENTION_DAYS is not set: everything is kept")
        return dg.RunRequest(run_key=f"retention-{context.scheduled_execution_time.isoformat()}")

    return daily_retention
