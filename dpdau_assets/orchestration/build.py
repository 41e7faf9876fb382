"""The composition of the Dagster room: settings in, `Definitions` out.

Dagster concept: definitions. Nothing is decided here but what belongs together; building definitions opens no data
folder and creates nothing.
"""

from __future__ import annotations

import warnings
from datetime import datetime

import dagster as dg

from dpdau_assets.operations.session.workspace import utc_now
from dpdau_assets.orchestration.assets.erasure_replay import erasure_assets
from dpdau_assets.orchestration.assets.raw_events import ingest_assets
from dpdau_assets.orchestration.assets.releases import release_assets
from dpdau_assets.orchestration.assets.sketches import sketch_assets
from dpdau_assets.orchestration.automation.alerts import alert_sensors
from dpdau_assets.orchestration.automation.retention import retention_job, retention_schedule
from dpdau_assets.orchestration.automation.schedules import release_schedule
from dpdau_assets.orchestration.automation.sensors import sensors
from dpdau_assets.orchestration.checks import asset_checks
from dpdau_assets.orchestration.jobs import asset_jobs, ingest_job
from dpdau_assets.orchestration.partitions import daily_partitions
from dpdau_assets.orchestration.resources import LakeResource, resources
from dpdau_assets.settings.settings import Settings

DEFAULT_OWNER = "team:privacy-data"


def build_definitions(
    settings: Settings, *, lake: LakeResource | None = None, now: datetime | None = None
) -> dg.Definitions:
    """Everything Dagster shows and runs for one data folder.

    Guarantee: loads whether or not the data folder exists and SERIES_START is set.

    Args:
        settings: All settings.
        lake: The data folder, instead of the one the settings name (tests, with their own clock).
        now: Aware time that decides which partitions exist; the machine's by default.
    """
    lake = lake or LakeResource(settings)
    today = (now or utc_now()).astimezone(settings.zone).date()
    owners = [settings.admin_email] if settings.admin_email else [DEFAULT_OWNER]
    with warnings.catch_warnings():
        # Backfill policies and the mapping of windows are marked beta; both are pinned with Dagster and tested here.
        warnings.simplefilter("ignore", dg.BetaWarning)
        partitions = daily_partitions(settings, today=today)
        release_job, erasure_job, rebuild_job = asset_jobs()
        definitions = dg.Definitions(
            assets=[
                *ingest_assets(partitions, owners=owners),
                *erasure_assets(partitions, owners=owners),
                *sketch_assets(partitions, settings=settings, owners=owners),
                *release_assets(partitions, settings=settings, owners=owners),
            ],
            asset_checks=asset_checks(),
            jobs=[ingest_job, release_job, erasure_job, rebuild_job, retention_job],
            schedules=[release_schedule(partitions, settings=settings, today=today), retention_schedule(settings)],
            sensors=[*sensors(partitions, jobs=[ingest_job, rebuild_job]), *alert_sensors(settings)],
            resources=resources(lake),
            executor=dg.in_process_executor,
        )
        definitions.get_repository_def()  # resolves what Dagster would resolve later, outside of this filter
    return definitions
