"""The jobs over sources and days, all in one process: a process for each step would cost five seconds a step.

Dagster concept: jobs. `ingest_job` is made of an op, because a source spans days and is read once; the others
materialise assets over a range of days. The fifth, `retention_job`, looks at no day of a run (`retention`).
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.orchestration.assets.erasure_replay import EVERYWHERE_JOB
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.partitions import BUILT
from dpdau_assets.orchestration.resources import LakeResource


class InboxFiles(dg.Config):
    """What one run stages."""

    names: list[str]
    """Names of files in DATA_DIR/inbox."""


@dg.op(retry_policy=RETRY_STORAGE)
def stage_inbox_files(context: dg.OpExecutionContext, config: InboxFiles, lake: dg.ResourceParam[LakeResource]) -> None:
    """Reads inbox files once and whole, as pseudonyms, into staging; a file goes when its rows are recorded."""
    with plain_failures(), lake.open() as workspace:
        report = stage_inbox(workspace, config.names)
    context.add_output_metadata({"files": report.files, "days": len(report.days)})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Stages complete inbox files. The inbox sensor starts it; the days are built by `rebuild_job`.",
)
def ingest_job() -> None:
    """Stages the files named in the run's configuration."""
    stage_inbox_files()


def asset_jobs() -> Sequence[Any]:
    """The jobs over ranges of days."""
    return [
        dg.define_asset_job(
            "daily_release_job",
            selection=dg.AssetSelection.all(),
            executor_def=dg.in_process_executor,
            description="Brings days up to date, checks that no erased user is left, releases and publishes them.",
        ),
        dg.define_asset_job(
            EVERYWHERE_JOB,
            selection=dg.AssetSelection.assets("erasure_replay", "daily_sketches", "mau_unions"),
            executor_def=dg.in_process_executor,
            description="Applies every pending erasure and rebuilds days and windows. It never touches a release.",
        ),
        dg.define_asset_job(
            "rebuild_job",
            selection=dg.AssetSelection.assets(*BUILT),
            executor_def=dg.in_process_executor,
            description="Folds staged files and rebuilds days and the windows over them. It never touches a release.",
        ),
    ]
