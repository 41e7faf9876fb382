"""The schedule and the sensors: what they ask for, when they wait, and that asking twice does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dpdau_assets.core.quantities import METRICS, DayRange, close_time
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.orchestration.automation import reconcile
from dpdau_assets.orchestration.automation.run_requests import PLANNED_RUN_TAG
from dpdau_assets.orchestration.automation.schedules import cron_times
from dpdau_assets.orchestration.partitions import RANGE_END, RANGE_START
from dpdau_assets.orchestration.resources import resources
from dpdau_assets.settings.settings import Settings
from dpdau_tests.support.crashes import Interrupted, Interruption, count_steps
from dpdau_tests.support.dagster_folder import NOW, TODAY, Folder, activity, ago, make_folder, past
from dpdau_tests.support.workspaces import copy_of, digests

pytestmark = pytest.mark.untraced


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, instance: dg.DagsterInstance) -> Folder:
    return make_folder(tmp_path, instance)


def _evaluate_schedule(folder: Folder) -> dg._core.definitions.schedule_definition.ScheduleExecutionData:
    context = dg.build_schedule_context(
        instance=folder.instance,
        scheduled_execution_time=datetime.now(UTC),
        repository_def=folder.definitions.get_repository_def(),
        resources=resources(folder.lake),
    )
    return folder.definitions.resolve_schedule_def("daily_release_schedule").evaluate_tick(context)


class Ticks:
    """A sensor evaluated tick after tick, with its cursor kept between them."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.folder, self.cursor = folder, None
        self.sensor = folder.definitions.resolve_sensor_def(name)

    def tick(self) -> dg._core.definitions.sensor_definition.SensorExecutionData:
        context = dg.build_sensor_context(
            instance=self.folder.instance, cursor=self.cursor, resources=resources(self.folder.lake)
        )
        data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor
        return data


def _days(request: dg.RunRequest) -> DayRange:
    return DayRange(date.fromisoformat(request.tags[RANGE_START]), date.fromisoformat(request.tags[RANGE_END]))


def _execute(folder: Folder, request: dg.RunRequest) -> None:
    """Does what the daemon does with a request."""
    job = folder.definitions.resolve_job_def(str(request.job_name))
    result = job.execute_in_process(
        run_config=request.run_config, tags=request.tags, instance=folder.instance, raise_on_error=False,
        asset_selection=request.asset_selection,
    )  # fmt: skip
    assert result.success


class TestDailyReleaseSchedule:
    def test_it_asks_for_all_missing_days_in_one_run(self, folder: Folder) -> None:
        """After an outage the range reaches over every closed day of the last 31 that is not released."""
        data = _evaluate_schedule(folder)
        assert data.run_requests is not None
        (request,) = data.run_requests
        assert _days(request) == past(31)

    @pytest.mark.slow
    def test_it_asks_when_only_the_newest_day_is_missing(self, folder: Folder) -> None:
        """The ordinary night: one day."""
        with folder.lake.open() as workspace:
            publish_releases(workspace, ["dau", "wau", "mau"], past(31, 2))
        data = _evaluate_schedule(folder)
        assert data.run_requests is not None
        (request,) = data.run_requests
        assert _days(request) == past(1)
        request = request.with_replaced_attrs(job_name="daily_release_job")
        _execute(folder, request)
        after = _evaluate_schedule(folder)
        assert not after.run_requests
        assert "is released" in str(after.skip_message)

    @pytest.mark.slow
    def test_a_month_without_budget_is_not_asked_for_night_after_night(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """A metric that has no budget left is left out; when nothing is funded the reason says so."""
        folder = make_folder(tmp_path, instance, mechanism="gaussian", dau_budget_total=0.01)
        data = _evaluate_schedule(folder)
        assert data.run_requests is not None
        (request,) = data.run_requests
        chosen = {key.to_user_string() for key in request.asset_selection or []}
        assert "dau_release" not in chosen
        assert {"raw_events", "wau_release", "mau_release", "published_metrics"} <= chosen
        poor = make_folder(
            tmp_path / "poor", instance, mechanism="gaussian", **{f"{name}_budget_total": 0.01 for name in METRICS}
        )
        assert "no budget is left" in str(_evaluate_schedule(poor).skip_message)

    def test_days_before_the_series_and_open_days_are_not_asked_for(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """The range starts with the series and ends with the last closed day."""
        young = make_folder(tmp_path, instance, series_start=ago(3), day_close_delay_hours=24)
        data = _evaluate_schedule(young)
        assert data.run_requests is not None
        assert _days(data.run_requests[0]) == past(3, 2)
        unborn = make_folder(tmp_path / "unborn", instance, series_start=TODAY + timedelta(days=2))
        assert "no day of the series has closed" in str(_evaluate_schedule(unborn).skip_message)
        undefined = make_folder(tmp_path / "undefined", instance, series_start=None)
        assert "SERIES_START is not set" in str(_evaluate_schedule(undefined).skip_message)

    @pytest.mark.parametrize(
        ("timezone", "hours", "expected"),
        [
            ("UTC", 6, ["30 6 * * *"]),
            ("UTC", 30, ["30 6 * * *"]),
            ("Asia/Kathmandu", 0, ["30 0 * * *"]),
            ("Europe/Berlin", 6, ["30 6 * * *", "30 7 * * *"]),
        ],
    )
    def test_it_ticks_half_an_hour_after_the_close(self, timezone: str, hours: int, expected: list[str]) -> None:
        """The wall-clock time follows DAY_CLOSE_DELAY_HOURS in TIMEZONE."""
        settings = Settings(timezone=timezone, day_close_delay_hours=hours)
        assert cron_times(settings, today=date(2026, 1, 10)) == expected

    @pytest.mark.parametrize("hours", [0, 2, 6, 23, 49])
    def test_every_day_of_the_year_has_a_tick_within_ninety_minutes_of_its_close(self, hours: int) -> None:
        """On the day of a clock change too, a tick comes when the day is closed and not a day later."""
        settings = Settings(timezone="America/New_York", day_close_delay_hours=hours)
        times = [line.split()[:2] for line in cron_times(settings, today=date(2026, 1, 1))]
        for day in DayRange(date(2026, 1, 1), date(2026, 12, 30)):
            closed = close_time(day, zone=settings.zone, delay_hours=hours)
            local = closed.astimezone(settings.zone)
            ticks = [
                datetime(at.year, at.month, at.day, int(hour), int(minute), tzinfo=settings.zone).astimezone(UTC)
                for at in (local.date(), local.date() + timedelta(days=1))
                for minute, hour in times
            ]
            assert any(timedelta(0) <= tick - closed <= timedelta(minutes=90) for tick in ticks), day


class TestInboxSensor:
    def test_a_complete_file_is_staged_and_its_days_built(self, folder: Folder) -> None:
        """First sighting: wait. Second: stage. Then: build the closed days and the windows over them."""
        path = folder.drop("events.csv", activity(past(5, 3)))
        ticks = Ticks(folder, "inbox_sensor")
        assert not ticks.tick().run_requests
        (request,) = ticks.tick().run_requests or []
        assert request.job_name == "ingest_job"
        assert request.run_config == {"ops": {"stage_inbox_files": {"config": {"names": ["events.csv"]}}}}
        _execute(folder, request)
        assert not path.exists()
        (build,) = ticks.tick().run_requests or []
        assert build.job_name == "rebuild_job"
        assert _days(build) == past(5)
        _execute(folder, build)
        assert folder.materialised("mau_unions") == {day.isoformat() for day in past(5)}
        assert not ticks.tick().run_requests

    def test_scattered_late_days_are_built_in_their_own_ranges(self, folder: Folder) -> None:
        """One event of long ago rebuilds its day and the windows over it, not all days since."""
        folder.ingest("late.csv", [("someone", ago(55)), ("someone", ago(3))])
        requests = Ticks(folder, "inbox_sensor").tick().run_requests or []
        assert [_days(request) for request in requests] == [past(55, 26), past(3)]

    def test_open_days_stay_staged(self, folder: Folder) -> None:
        """Rows of today are not built before today has closed."""
        folder.ingest("today.csv", [("someone", TODAY)])
        data = Ticks(folder, "inbox_sensor").tick()
        assert not data.run_requests

    def test_a_folder_without_anything_waits(self, folder: Folder) -> None:
        """Nothing in the inbox and nothing staged is no error."""
        data = Ticks(folder, "inbox_sensor").tick()
        assert not data.run_requests
        assert "0 files" in str(data.skip_message)

    def test_run_requests_hold_file_names_only(self, folder: Folder) -> None:
        """No path, id or count of rows reaches a run's configuration or tags."""
        folder.drop("events.csv", activity(past(2)))
        ticks = Ticks(folder, "inbox_sensor")
        ticks.tick()
        (request,) = ticks.tick().run_requests or []
        assert "user-" not in str(request)
        assert str(folder.settings.root) not in str(request)


class TestErasureSensor:
    @pytest.mark.slow
    def test_a_pending_erasure_is_replayed_over_all_days_it_may_concern(self, folder: Folder) -> None:
        """The range holds every day held up to the request's last and the windows over them, whoever was active."""
        folder.ingest("events.csv", [*activity(past(40, 10)), ("lonely", ago(20))])
        folder.run("rebuild_job", past(40))
        ticks = Ticks(folder, "erasure_sensor")
        assert "no erasure" in str(ticks.tick().skip_message)
        folder.erase("lonely", through=ago(12))
        (request,) = ticks.tick().run_requests or []
        assert _days(request) == past(60)
        assert "lonely" not in str(request)
        assert folder.pending_erasures() == 1
        _execute(folder, request.with_replaced_attrs(job_name="erasure_replay_job"))
        assert folder.pending_erasures() == 0
        assert "no erasure" in str(ticks.tick().skip_message)

    def test_a_run_that_failed_is_asked_for_again(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        """The ledger still shows the erasure pending, so a new key is asked for after the pause."""
        folder.ingest("events.csv", activity(past(3)))
        folder.erase("user-1", through=TODAY)
        (first,) = Ticks(folder, "erasure_sensor").tick().run_requests or []
        job = folder.definitions.resolve_job_def("erasure_replay_job")
        with monkeypatch.context() as patch:
            patch.setattr("dpdau_assets.orchestration.assets.erasure_replay.flush_deletes", lambda _workspace: 1 / 0)
            assert not job.execute_in_process(tags=first.tags, instance=folder.instance, raise_on_error=False).success
        assert "1 attempts" in str(Ticks(folder, "erasure_sensor").tick().skip_message)
        later = make_folder(
            folder.settings.root.parent, folder.instance, clock_offset=datetime.now(UTC) - NOW + timedelta(minutes=2)
        )
        (second,) = Ticks(later, "erasure_sensor").tick().run_requests or []
        assert second.run_key != first.run_key
        assert second.tags[PLANNED_RUN_TAG] == first.tags[PLANNED_RUN_TAG]

    def test_nothing_recorded_tells_a_persons_days(self, tmp_path: Path) -> None:
        """Two people active on other days: the same request, partitions, logs and order of rows in the ledger."""
        recorded = []
        for own_days in ([ago(18)], [ago(12), ago(9), ago(8)]):
            with dg.DagsterInstance.ephemeral() as instance:
                folder = make_folder(tmp_path / str(len(recorded)), instance, series_start=ago(22))
                folder.ingest("events.csv", [*activity(past(20, 4)), *(("lonely", day) for day in own_days)])
                with folder.lake.open() as workspace:
                    bring_up_to_date(workspace, past(20, 4))
                folder.erase("lonely", through=ago(6))
                (request,) = Ticks(folder, "erasure_sensor").tick().run_requests or []
                _execute(folder, request.with_replaced_attrs(job_name="erasure_replay_job"))
                recorded.append(
                    (request.run_key, request.tags, request.run_config, _told(instance), _order_of_rows(folder))
                )
        assert recorded[0] == recorded[1]
        assert {day for asset, day in recorded[0][-1] if asset == "raw_events"} >= {str(day) for day in past(20, 4)}

    @pytest.mark.slow
    def test_stored_releases_stay_as_they_are(self, folder: Folder) -> None:
        """The job of an erasure leaves every row of releases, charges and accounts as it is, whoever it erases."""
        folder.ingest("events.csv", activity(past(5)))
        with folder.lake.open() as workspace:
            publish_releases(workspace, ["dau", "wau", "mau"], past(5))
        before = _released(folder)
        assert before["releases"]
        folder.erase("user-1", "user-2", through=TODAY)
        (request,) = Ticks(folder, "erasure_sensor").tick().run_requests or []
        _execute(folder, request.with_replaced_attrs(job_name="erasure_replay_job"))
        assert folder.pending_erasures() == 0
        assert _released(folder) == before
        assert not any(folder.materialised(f"{metric}_release") for metric in ("dau", "wau", "mau"))

    @pytest.mark.slow
    def test_a_run_that_died_midway_is_taken_up_again(self, folder: Folder, tmp_path: Path) -> None:
        """A run killed between two files stays under way for an hour; then another one ends where it would have."""
        folder.ingest("events.csv", activity(past(4)))
        with folder.lake.open() as workspace:
            bring_up_to_date(workspace, past(4))
        folder.erase("user-1", through=TODAY)
        (first,) = Ticks(folder, "erasure_sensor").tick().run_requests or []
        with folder.lake.open() as workspace:
            at_once = copy_of(workspace, tmp_path / "at-once")
        steps = count_steps(flush_deletes, at_once)
        job = folder.definitions.resolve_job_def("erasure_replay_job")
        folder.instance.create_run_for_job(job, tags=dict(first.tags), status=dg.DagsterRunStatus.STARTED)
        with folder.lake.open() as workspace, pytest.raises(Interrupted), Interruption(steps // 2):
            flush_deletes(workspace)
        assert folder.pending_erasures() == 1
        assert "under way" in str(Ticks(folder, "erasure_sensor").tick().skip_message)
        later = make_folder(
            folder.settings.root.parent, folder.instance, clock_offset=datetime.now(UTC) - NOW + timedelta(hours=2)
        )
        (second,) = Ticks(later, "erasure_sensor").tick().run_requests or []
        assert second.run_key != first.run_key
        assert second.tags[PLANNED_RUN_TAG] == first.tags[PLANNED_RUN_TAG]
        _execute(later, second.with_replaced_attrs(job_name="erasure_replay_job"))
        assert folder.pending_erasures() == 0
        with folder.lake.open() as workspace:
            found = {key: digest for key, digest in digests(workspace).items() if key[1] < TODAY}
            assert found == digests(at_once)  # two hours later today may have closed
            assert verify(workspace).findings == ()

    def test_erasures_of_people_without_any_day_complete_as_well(self, folder: Folder) -> None:
        """A request for somebody never seen runs over the newest day and becomes complete."""
        folder.erase("never-seen", through=TODAY)
        (request,) = Ticks(folder, "erasure_sensor").tick().run_requests or []
        assert len(_days(request)) == 1
        _execute(folder, request.with_replaced_attrs(job_name="erasure_replay_job"))
        assert folder.pending_erasures() == 0


class TestReconcileSensor:
    def test_dagster_is_told_what_the_command_line_built_and_released(self, folder: Folder) -> None:
        """After work without Dagster its pages show the same partitions as after a run, charging nothing."""
        folder.ingest("events.csv", activity(past(4)))
        with folder.lake.open() as workspace:
            bring_up_to_date(workspace, past(4))
            publish_releases(workspace, ["dau"], past(4))
        charges = folder.charges()
        ticks = Ticks(folder, "reconcile_sensor")
        while "told" in str(ticks.tick().skip_message):
            pass
        expected = {day.isoformat() for day in past(4)}
        for asset in ("raw_events", "erasure_replay", "daily_sketches", "mau_unions", "dau_release"):
            assert expected <= folder.materialised(asset), asset
        assert folder.charges() == charges
        record = folder.instance.get_latest_materialization_event(dg.AssetKey("dau_release"))
        assert record is not None
        assert record.asset_materialization is not None
        assert "estimate" in record.asset_materialization.metadata
        assert "knows everything" in str(ticks.tick().skip_message)

    def test_dagster_is_told_what_the_command_line_exported(self, folder: Folder) -> None:
        """Days that the published files hold are published in Dagster too, and told once; a release that was not
        exported, and a file that cannot be read, tell nothing."""
        ticks, days = Ticks(folder, "reconcile_sensor"), {day.isoformat() for day in past(2)}
        with folder.lake.open() as workspace:
            publish_releases(workspace, ["dau"], past(2))
            ticks.tick()
            assert folder.materialised("published_metrics") == set()
            export_metrics(workspace)
            publish_releases(workspace, ["dau"], past(3))
            for _ in range(3):
                ticks.tick()
            assert folder.materialised("published_metrics") == days
            assert len(_events(folder, "published_metrics")) == len(days)
            (workspace.lake.published / "metrics.parquet").write_bytes(b"no table")
            assert "knows everything" in str(ticks.tick().skip_message)

    def test_exported_days_without_a_partition_keep_no_other_waiting(
        self, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Days published before SERIES_END was moved back are newer than all with a partition, and take no room."""
        with folder.lake.open() as workspace:
            publish_releases(workspace, ["dau"], past(4))
        shortened = make_folder(tmp_path, folder.instance, series_end=ago(3))
        ticks = Ticks(shortened, "reconcile_sensor")
        while "told" in str(ticks.tick().skip_message):
            pass
        with folder.lake.open() as workspace:
            export_metrics(workspace)
        monkeypatch.setattr(reconcile, "EVENTS_A_TICK", 2)
        ticks.tick()
        assert shortened.materialised("published_metrics") == {ago(4).isoformat(), ago(3).isoformat()}

    @pytest.mark.slow
    def test_what_a_run_recorded_is_not_told_again(self, folder: Folder) -> None:
        """Dagster's own runs are recognised, also by a sensor that has lost its cursor."""
        folder.ingest("events.csv", activity(past(4)))
        assert folder.run("daily_release_job", past(4)).success
        ticks = Ticks(folder, "reconcile_sensor")
        while "told" in str(ticks.tick().skip_message):
            pass
        told = [str(record.partition_key) for record in _events(folder, "raw_events")]
        assert [told.count(day.isoformat()) for day in past(4)] == [1] * 4
        assert len(told) == len(set(told))

    @pytest.mark.slow
    def test_a_tick_is_bounded_and_the_newest_days_come_first(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A long history is told over many ticks, from its end backwards, and none is left out."""
        monkeypatch.setattr(reconcile, "EVENTS_A_TICK", 7)
        with folder.lake.open() as workspace:
            bring_up_to_date(workspace, past(5))
        ticks = Ticks(folder, "reconcile_sensor")
        ticks.tick()
        told = [
            folder.materialised(asset) for asset in ("raw_events", "erasure_replay", "daily_sketches", "mau_unions")
        ]
        assert 0 < sum(map(len, told)) <= 7
        assert max(set().union(*told)) == ago(1).isoformat()
        for _ in range(40):
            ticks.tick()
        assert folder.materialised("raw_events") >= {day.isoformat() for day in past(5)}
        assert "knows everything" in str(ticks.tick().skip_message)


def _told(instance: dg.DagsterInstance) -> list[tuple[str, str | None, str]]:
    """Every materialization in an instance: asset, partition and metadata."""
    records = [
        record
        for asset in instance.all_asset_keys()
        for record in instance.fetch_materializations(asset, limit=1000).records
    ]
    return sorted(
        (
            str(record.asset_key),
            record.partition_key,
            str(record.asset_materialization.metadata if record.asset_materialization else None),
        )
        for record in records
    )


def _order_of_rows(folder: Folder) -> list[tuple[str, str]]:
    """Asset and day of the ledger's partitions in the order in which their rows were last saved."""
    with folder.lake.open() as workspace, workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT asset, day FROM partitions ORDER BY version").all()
    return [(row[0], row[1]) for row in rows]


def _released(folder: Folder) -> dict[str, list[tuple[object, ...]]]:
    """Every column of what was released and charged."""
    with folder.lake.open() as workspace, workspace.ledger.read() as connection:
        return {
            table: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}").all()]
            for table in ("accounts", "charges", "releases", "resets")
        }


def _events(folder: Folder, asset: str) -> list[dg.EventLogRecord]:
    return list(folder.instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records)
