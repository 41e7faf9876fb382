"""Retention as a job of its own, once a day.

Dagster concept: an op job, because what goes is a matter of the calendar and spans every asset. While RETENTION_DAYS is
not set its schedule asks for a run only when the key of a noise offset is past its day: those go in any case, also when
nothing is released any more. What goes, and how, belongs to `operations`: `apply_retention`, `shared_noise`.
"""

import dagster as dg

from dpdau_assets.operations.budget.shared_noise import closed_shared_noise, destroy_closed_shared_noise
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.resources import LakeResource, LedgerResource
from dpdau_assets.settings.settings import Settings

AT_HALF_PAST_ONE = "30 1 * * *"
"""After midnight, when another day has come of age, and before the usual releases."""


@dg.op(retry_policy=RETRY_STORAGE)
def drop_what_is_past_retention(context: dg.OpExecutionContext, lake: dg.ResourceParam[LakeResource]) -> None:
    """Drops key-level data, tombstones and secrets past RETENTION_DAYS; counts of windows and releases stay.

    Keys of closed offsets go first, whatever the setting: by a clock that retention would not believe this costs a new
    opening at most.
    """
    with plain_failures(), lake.open() as workspace:
        context.add_output_metadata({"keys of offsets destroyed": destroy_closed_shared_noise(workspace)})
        if workspace.settings.retention_days is None:
            return
        done = apply_retention(workspace)
    context.add_output_metadata(
        {"held from": str(done.held_from or "the beginning"), "first salt epoch left": done.lowest_epoch}
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Drops key-level data, tombstones and secrets past RETENTION_DAYS, and keys of noise offsets past their day. "
        "It never touches a release."
    ),
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
        description=(
            "Drops what is past RETENTION_DAYS, and keys of noise offsets past their day, once a day; the next run "
            "makes up for a missed one."
        ),
    )
    def daily_retention(
        context: dg.ScheduleEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.RunRequest | dg.SkipReason:
        if settings.retention_days is None and not ledger.ask(closed_shared_noise):
            return dg.SkipReason("RETENTION_DAYS is not set, and no key of a noise offset is past its day")
        return dg.RunRequest(run_key=f"retention-{context.scheduled_execution_time.isoformat()}")

    return daily_retention
