"""A small data folder with Dagster over it, for the tests of this folder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.orchestration.partitions import range_tags
from dpdau_assets.orchestration.resources import LakeResource
from dpdau_assets.settings.settings import Settings

NOW = datetime.now(UTC)
"""Dagster decides by the machine's clock which partitions exist, so these tests live today."""
TODAY = NOW.date()


def ago(days: int) -> date:
    """The day that many days before today."""
    return TODAY - timedelta(days=days)


def past(first: int, last: int = 1) -> DayRange:
    """From `first` days ago to `last` days ago."""
    return DayRange(ago(first), ago(last))


@dataclass
class Folder:
    """A data folder and Dagster's view of it."""

    settings: Settings
    lake: LakeResource
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def drop(self, name: str, rows: Sequence[tuple[str, date]]) -> Path:
        """Puts a CSV file into the inbox."""
        self.lake.inbox.mkdir(parents=True, exist_ok=True)
        path = self.lake.inbox / name
        lines = ["user_id,day", *(f"{user},{day}" for user, day in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def ingest(self, name: str, rows: Sequence[tuple[str, date]]) -> None:
        """Stages rows without Dagster."""
        self.drop(name, rows)
        with self.lake.open() as workspace:
            stage_inbox(workspace, [name])

    def erase(self, *users: str, through: date) -> None:
        """Asks for an erasure without applying it."""
        with self.lake.open() as workspace:
            request_erasure(workspace, [user.encode() for user in users], through=through, now=workspace.now())

    def run(
        self, job: str, days: DayRange, *, run_config: dict[str, Any] | None = None, assets: Sequence[str] | None = None
    ) -> dg.ExecuteInProcessResult:
        """Runs a job over a range of days, in this process."""
        return self.definitions.resolve_job_def(job).execute_in_process(
            tags=range_tags(days),
            instance=self.instance,
            run_config=run_config,
            asset_selection=[dg.AssetKey(name) for name in assets] if assets else None,
            raise_on_error=False,
        )

    def materialised(self, asset: str) -> set[str]:
        """The partitions of an asset that Dagster knows to be materialised."""
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset)))

    def charges(self) -> int:
        """How many charges the ledger holds, the openings of months aside: the days of a test may lie in two."""
        query = "SELECT count(*) FROM charges WHERE kind != 'opening'"
        with self.lake.open() as workspace, workspace.ledger.read() as connection:
            return int(connection.exec_driver_sql(query).scalar_one())

    def pending_erasures(self) -> int:
        """How many erasure requests are not complete."""
        query = "SELECT count(*) FROM erasure_requests WHERE completed_at IS NULL"
        with self.lake.open() as workspace, workspace.ledger.read() as connection:
            return int(connection.exec_driver_sql(query).scalar_one())


def make_folder(
    root: Path, instance: dg.DagsterInstance, *, clock_offset: timedelta = timedelta(), **settings: Any
) -> Folder:
    """A new data folder for synthetic data below `root`; the day before today is closed."""
    given: dict[str, Any] = {
        "data_dir": root / "data",
        "series_start": ago(60),
        "day_close_delay_hours": 0,
        "sketch_impl": "set",
        "noise_source": "seeded",
        **settings,
    }
    chosen = Settings(**given)
    lake = LakeResource(chosen, clock=lambda: NOW + clock_offset, synthetic=True)
    return Folder(chosen, lake, build_definitions(chosen, lake=lake, now=NOW), instance)


def activity(days: DayRange, *, users: int = 40, seed: int = 7) -> list[tuple[str, date]]:
    """Users active at random."""
    chance = random.Random(seed)
    return [(f"user-{number}", day) for day in days for number in range(users) if chance.random() < 0.3]


def release_assets() -> list[str]:
    """The keys of the three releases."""
    return [f"{metric}_release" for metric in METRICS]
