"""The asset `erasure_replay`: the users of the day who are still live.

Which days an erasure concerns is decided by `sensors`; what a replay does, by `operations.replay_erasures`.
"""

import dagster as dg

from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes, replay_erasures
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.partitions import DailyPartitions, days_of_run
from dpdau_assets.orchestration.resources import LakeResource

EVERYWHERE_JOB = "erasure_replay_job"
"""In this job the step applies every pending erasure to every day held, not only to the days of its run."""

DESCRIPTION = """\
**The live users of the day**: active that day, and not erased through that day or a later one.

| | |
|---|---|
| made from | `raw_events` of the day and the tombstones of the ledger |
| stored as | `lake/erasure_replay/day=D/e<epoch>.parquet` |
| physical | `raw_events` and staged files are rewritten without the erased pseudonyms as well |
| late data | a tombstone stays, so that activity which arrives later cannot bring an erased user back |

`erasure_replay_job` applies **every** pending erasure, also to days that have no partition here.
"""


def erasure_assets(partitions: DailyPartitions, *, owners: list[str]) -> list[dg.AssetsDefinition]:
    """The assets of the group `erasure`."""

    @dg.asset(
        partitions_def=partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=["raw_events"],
        group_name="erasure",
        kinds={"duckdb", "parquet"},
        owners=owners,
        description=DESCRIPTION,
        retry_policy=RETRY_STORAGE,
    )
    def erasure_replay(context: dg.AssetExecutionContext, lake: dg.ResourceParam[LakeResource]) -> dg.MaterializeResult:
        days = days_of_run(context)
        with plain_failures(), lake.open() as workspace:
            if context.run.job_name == EVERYWHERE_JOB:
                flush_deletes(workspace)
            replay_erasures(workspace, days)
        return dg.MaterializeResult(metadata={"days in run": len(days)})

    return [erasure_replay]
