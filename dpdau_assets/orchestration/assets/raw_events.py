"""The asset `raw_events`: the day's activity as pseudonyms.

Reading sources does not belong here (`jobs`, the op of `ingest_job`): a source spans days and is read once.
"""

import dagster as dg

from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.partitions import DailyPartitions, days_of_run
from dpdau_assets.orchestration.resources import LakeResource

DESCRIPTION = """\
**Who was active on the day**, as 64-bit pseudonyms, each once.

| | |
|---|---|
| made from | the staged files of the day; the lines of an inbox file are read once, by `ingest_job` |
| stored as | `lake/raw_events/day=D/e<epoch>.parquet`, one sorted column, one file for each salt epoch |
| repeated | merging is a set union: doing it twice changes nothing |
| open days | stay staged until they close (midnight in TIMEZONE plus DAY_CLOSE_DELAY_HOURS) |

A day that is current already is skipped.
"""


def ingest_assets(partitions: DailyPartitions, *, owners: list[str]) -> list[dg.AssetsDefinition]:
    """The assets of the group `ingest`."""

    @dg.asset(
        partitions_def=partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="ingest",
        kinds={"duckdb", "parquet"},
        owners=owners,
        description=DESCRIPTION,
        retry_policy=RETRY_STORAGE,
    )
    def raw_events(context: dg.AssetExecutionContext, lake: dg.ResourceParam[LakeResource]) -> dg.MaterializeResult:
        days = days_of_run(context)
        with plain_failures(), lake.open() as workspace:
            fold(workspace, days)
        return dg.MaterializeResult(metadata={"days in run": len(days)})

    return [raw_events]
