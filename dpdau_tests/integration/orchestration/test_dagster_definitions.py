"""What Dagster shows of a data folder."""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.utils import is_valid_email

from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.settings.settings import Settings

GROUPS = {
    "raw_events": "ingest",
    "erasure_replay": "erasure",
    "daily_sketches": "sketches",
    "mau_unions": "sketches",
    "dau_release": "releases",
    "wau_release": "releases",
    "mau_release": "releases",
    "published_metrics": "releases",
}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions(Settings(data_dir=Path("/nonexistent"), series_start=date(2026, 1, 1)))


class TestNames:
    def test_assets_stand_in_their_groups(self, definitions: dg.Definitions) -> None:
        """The asset keys and groups are those of the documentation, and no others."""
        graph = definitions.resolve_asset_graph()
        shown = {key.to_user_string(): graph.get(key).group_name for key in graph.get_all_asset_keys()}
        assert shown == GROUPS

    def test_every_asset_tells_what_it_is(self, definitions: dg.Definitions) -> None:
        """Each has a description with an explanation, an owner and kinds."""
        graph = definitions.resolve_asset_graph()
        for key in graph.get_all_asset_keys():
            node = graph.get(key)
            assert node.description
            assert len(node.description) > 150
            assert node.owners
            assert node.kinds

    def test_jobs_schedule_sensors_and_resources_have_their_names(self, definitions: dg.Definitions) -> None:
        """What operators start and switch is named as documented."""
        repository = definitions.get_repository_def()
        named = {job for job in repository.job_names if not job.startswith("__")}
        assert named == {"ingest_job", "daily_release_job", "erasure_replay_job", "rebuild_job", "retention_job"}
        schedules = {schedule.name for schedule in repository.schedule_defs}
        assert schedules == {"daily_release_schedule", "retention_schedule"}
        sensors = {sensor.name for sensor in repository.sensor_defs}
        assert sensors == {
            "inbox_sensor",
            "erasure_sensor",
            "reconcile_sensor",
            "alert_sensor",
            "run_failure_alert_sensor",
        }
        assert {"lake", "ledger", "privacy_budget"} <= set(repository.get_top_level_resources())

    def test_everything_runs_without_being_switched_on(self, definitions: dg.Definitions) -> None:
        """Schedules and sensors are running by default: Dagster's own default is stopped."""
        repository = definitions.get_repository_def()
        states = [
            instigator.default_status.value for instigator in (*repository.schedule_defs, *repository.sensor_defs)
        ]
        assert states == ["RUNNING"] * 7

    def test_a_range_of_any_asset_is_one_run(self, definitions: dg.Definitions) -> None:
        """Every asset is partitioned by day under the single-run policy, so that a range can hold them all."""
        graph = definitions.resolve_asset_graph()
        for key in graph.get_all_asset_keys():
            node = graph.get(key)
            assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
            assert node.backfill_policy == dg.BackfillPolicy.single_run()

    def test_a_release_waits_for_the_blocking_check_only(self, definitions: dg.Definitions) -> None:
        """An erased user who is still present stops releases; a high rate of bad rows does not."""
        graph = definitions.resolve_asset_graph()
        checks = {(key.asset_key.to_user_string(), key.name): graph.get(key).blocking for key in graph.asset_check_keys}
        assert checks == {
            ("raw_events", "quarantine_rate"): False,
            ("erasure_replay", "no_erased_user"): True,
            ("daily_sketches", "sketch_error"): False,
            ("dau_release", "budget_within_cap"): False,
            ("wau_release", "budget_within_cap"): False,
            ("mau_release", "budget_within_cap"): False,
        }

    def test_nothing_but_the_schedule_and_people_can_release(self, definitions: dg.Definitions) -> None:
        """Releases carry no automation condition, and no sensor targets a job that holds one."""
        graph = definitions.resolve_asset_graph()
        assert all(graph.get(key).automation_condition is None for key in graph.get_all_asset_keys())
        repository = definitions.get_repository_def()
        for sensor in repository.sensor_defs:
            for target in sensor.targets:
                assert target.job_name in ("ingest_job", "rebuild_job", "erasure_replay_job")
        for name in ("rebuild_job", "erasure_replay_job"):
            selected = {key.to_user_string() for key in repository.get_job(name).asset_layer.executable_asset_keys}
            assert not {key for key in selected if key.split("_")[-1] == "release"}


class TestLoading:
    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"series_start": date(2999, 1, 1)},
            {"series_start": date(2010, 1, 1), "series_end": date(2010, 3, 1)},
            {"timezone": "Asia/Kathmandu"},
            {"series_start": date(1970, 1, 1), "series_end": date(9000, 12, 31)},
            {"series_start": date(9000, 12, 31), "admin_email": "ops@example.org"},
        ],
    )
    def test_definitions_load_whatever_the_series(self, settings: dict[str, object]) -> None:
        """A missing, future or finished series is no reason not to load."""
        definitions = build_definitions(Settings(**settings))  # type: ignore[arg-type]
        dg.Definitions.validate_loadable(definitions)
        assert definitions.resolve_job_def("daily_release_job").name == "daily_release_job"

    @pytest.mark.parametrize(
        "address",
        [
            "ops",
            "ops@localhost",
            "Ops <o@x.org>",
            "a@b.org",
            "a.b+c@d-e.f.org",
            "a@b.museums",
            "a@b.technology",
            "ü@b.org",
        ],
    )
    def test_an_owner_that_dagster_refuses_is_refused_by_the_settings(self, address: str) -> None:
        """Settings and Dagster agree on what an address is, so that no setting takes the definitions down."""
        try:
            settings = Settings(admin_email=address)
        except ValueError:
            assert not is_valid_email(address)
        else:
            assert is_valid_email(address)
            dg.AssetSpec("any", owners=[settings.admin_email])

    def test_loading_warns_of_nothing(self) -> None:
        """The beta features used are pinned and tested; a warning each time would hide a real one."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert build_definitions(Settings()).assets

    def test_loading_the_module_is_quick_and_creates_nothing(self, tmp_path: Path) -> None:
        """Importing what workspace.yaml names costs less than twice Dagster itself, and leaves the disk alone."""
        script = (
            "import time; a = time.perf_counter(); import dagster; b = time.perf_counter(); "
            "import dpdau_assets.definitions; c = time.perf_counter(); print((c - b) / (b - a))"
        )
        data = tmp_path / "data"
        environment = {"DATA_DIR": str(data), "PATH": "", "HOME": str(tmp_path)}
        answer = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        assert float(answer.stdout) < 2.0
        assert not data.exists()
