"""The assets `daily_sketches` and `mau_unions`: distinct users of a day and of the windows that end on it.

How a sketch is made belongs to `core.sketches`; what is rebuilt when, to the operations.
"""

import dagster as dg

from dpdau_assets.operations.pipeline.daily_sketches import build_sketches
from dpdau_assets.operations.pipeline.mau_unions import build_unions
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.partitions import DailyPartitions, days_of_run
from dpdau_assets.orchestration.resources import LakeResource
from dpdau_assets.settings.settings import Settings

SKETCH = """\
**A summary of the day's live users** from which distinct users can be counted and merged.

| `SKETCH_IMPL` | kept | error |
|---|---|---|
| `kmv` | the `SKETCH_K` smallest pseudonyms of the day | none up to `SKETCH_K` users, then about 1/sqrt(`SKETCH_K`) |
| `theta` | a share of all users fixed by `SKETCH_K` and `EXPECTED_USERS` | less than 1/sqrt(`SKETCH_K`) |
| `hll` | one byte for each of `SKETCH_K` registers | about 1.24/sqrt(`SKETCH_K`) |
| `set` | nothing of its own: refers to the live users | none |

This data folder uses `{sketch_impl}`. Sensitive: only releases may leave.
"""

UNION = """\
**Distinct users of the 7 and the {window_days} days that end on the day**, one row for each window.

| | |
|---|---|
| made from | the daily sketches of the window, days without data count as empty |
| stored as | `lake/mau_unions/day=D/windows.parquet` |
| after an erasure | every window over a changed day is rebuilt from its days, never adjusted |

Sensitive: only releases may leave.
"""


def sketch_assets(partitions: DailyPartitions, *, settings: Settings, owners: list[str]) -> list[dg.AssetsDefinition]:
    """The assets of the group `sketches`."""

    @dg.asset(
        partitions_def=partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=["erasure_replay"],
        group_name="sketches",
        kinds={"duckdb", "parquet"},
        owners=owners,
        description=SKETCH.format(sketch_impl=settings.sketch_impl),
        retry_policy=RETRY_STORAGE,
    )
    def daily_sketches(context: dg.AssetExecutionContext, lake: dg.ResourceParam[LakeResource]) -> dg.MaterializeResult:
        days = days_of_run(context)
        with plain_failures(), lake.open() as workspace:
            build_sketches(workspace, days)
        return dg.MaterializeResult(metadata={"days in run": len(days)})

    @dg.asset(
        partitions_def=partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[dg.AssetDep("daily_sketches", partition_mapping=partitions.window_mapping)],
        group_name="sketches",
        kinds={"duckdb", "parquet"},
        owners=owners,
        description=UNION.format(window_days=settings.mau_window_days),
        retry_policy=RETRY_STORAGE,
    )
    def mau_unions(context: dg.AssetExecutionContext, lake: dg.ResourceParam[LakeResource]) -> dg.MaterializeResult:
        days = days_of_run(context)
        with plain_failures(), lake.open() as workspace:
            build_unions(workspace, days)
        return dg.MaterializeResult(metadata={"days in run": len(days)})

    return [daily_sketches, mau_unions]
