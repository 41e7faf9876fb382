"""Materialising partitions and ranges, in this process, over real files and a real ledger."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.orchestration import resources
from dpdau_tests.support.dagster_folder import TODAY, Folder, activity, ago, make_folder, past, release_assets

BUILT = ("raw_events", "erasure_replay", "daily_sketches", "mau_unions")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, instance: dg.DagsterInstance) -> Folder:
    """Forty users over the last ten closed days, staged."""
    made = make_folder(tmp_path, instance)
    made.ingest("activity.csv", activity(past(10)))
    return made


def _keys(days: DayRange) -> set[str]:
    return {day.isoformat() for day in days}


def _plotted(folder: Folder, asset: str) -> dict[str, dict[str, Any]]:
    """By partition, the values of the newest materialisation's metadata."""
    records = folder.instance.fetch_materializations(dg.AssetKey(asset), limit=1000).records
    shown: dict[str, dict[str, Any]] = {}
    for record in records:
        assert record.asset_materialization is not None
        metadata = {name: value.value for name, value in record.asset_materialization.metadata.items()}
        shown.setdefault(str(record.partition_key), metadata)
    return shown


class TestRange:
    def test_a_range_is_one_run_that_records_every_day_of_every_asset(self, folder: Folder) -> None:
        """From staged rows to published files in one run, each day recorded once."""
        result = folder.run("daily_release_job", past(10))
        assert result.success
        for asset in (*BUILT, *release_assets(), "published_metrics"):
            assert folder.materialised(asset) == _keys(past(10)), asset
        assert len(result.get_asset_materialization_events()) == 8 * 10

    @pytest.mark.slow
    def test_the_published_files_hold_every_release(self, folder: Folder) -> None:
        """The export has a row for each metric and day of the range."""
        folder.run("daily_release_job", past(3))
        with (folder.settings.root / "published" / "metrics.csv").open(encoding="utf-8", newline="") as lines:
            rows = {(row["metric"], row["day"]) for row in csv.DictReader(lines)}
        assert rows == {(metric, day.isoformat()) for metric in METRICS for day in past(3)}
        assert (folder.settings.root / "published" / "report.html").stat().st_size > 1000

    @pytest.mark.slow
    def test_released_numbers_plot_for_each_partition(self, folder: Folder) -> None:
        """Value, interval and budget left are floats of that very day; the budget shrinks with the releases."""
        folder.run("daily_release_job", past(4))
        shown = _plotted(folder, "mau_release")
        assert set(shown) == _keys(past(4))
        for numbers in shown.values():
            assert {"estimate", "lower_95", "upper_95", "budget_remaining"} <= set(numbers)
            assert all(isinstance(numbers[name], float) for name in ("estimate", "lower_95", "upper_95"))
            assert numbers["lower_95"] <= numbers["estimate"] <= numbers["upper_95"]
            assert 0 < numbers["budget_remaining"] < folder.settings.mau_budget_total

    @pytest.mark.slow
    def test_a_repeat_charges_and_changes_nothing(self, folder: Folder) -> None:
        """The same range again succeeds and leaves charges and published bytes as they are."""
        folder.run("daily_release_job", past(5))
        charges = folder.charges()
        published = (folder.settings.root / "published" / "metrics.csv").read_bytes()
        assert charges == 15
        assert folder.run("daily_release_job", past(5)).success
        assert folder.charges() == charges
        assert (folder.settings.root / "published" / "metrics.csv").read_bytes() == published

    @pytest.mark.slow
    def test_a_single_partition_runs_alone(self, folder: Folder) -> None:
        """One day is a range of one; the windows it needs are brought up to date before it is counted."""
        job = folder.definitions.resolve_job_def("daily_release_job")
        day = ago(2).isoformat()
        assert job.execute_in_process(partition_key=day, instance=folder.instance).success
        assert folder.materialised("wau_release") == {day}
        assert _plotted(folder, "wau_release")[day]["estimate"] > 20

    @pytest.mark.slow
    def test_one_metric_can_be_released_alone(self, folder: Folder) -> None:
        """A selection of one release makes that one only, and charges for it only."""
        assert folder.run("daily_release_job", past(2), assets=["wau_release"]).success
        assert [len(folder.materialised(asset)) for asset in release_assets()] == [0, 2, 0]
        assert folder.charges() == 2

    def test_a_rebuild_never_releases(self, folder: Folder) -> None:
        """Building days and windows leaves the budget alone."""
        assert folder.run("rebuild_job", past(10)).success
        assert folder.charges() == 0
        assert folder.materialised("mau_unions") == _keys(past(10))


class TestErasure:
    @pytest.mark.slow
    def test_the_job_applies_every_erasure_even_of_days_without_partition(self, folder: Folder) -> None:
        """A request is complete after the job, although the folder holds days before the first partition."""
        folder.ingest("old.csv", activity(DayRange(ago(100), ago(95))))
        folder.run("rebuild_job", past(10))
        with folder.lake.open() as workspace:
            before = count_trusted(workspace, ago(10), ago(1))
        folder.erase("user-1", "user-2", through=TODAY)
        assert folder.pending_erasures() == 1
        result = folder.run("erasure_replay_job", past(10))
        assert result.success
        with folder.lake.open() as workspace:
            after = count_trusted(workspace, ago(10), ago(1))
        assert folder.pending_erasures() == 0
        assert sum(day["mau"] for day in after) < sum(day["mau"] for day in before)
        assert folder.charges() == 0

    def test_nothing_dagster_keeps_names_an_erased_person_or_their_days(self, folder: Folder) -> None:
        """Metadata of a replay is the same for every day of the range, and no id is in any event."""
        folder.run("rebuild_job", past(10))
        folder.erase("user-3", through=ago(4))
        result = folder.run("erasure_replay_job", past(10))
        shown = _plotted(folder, "erasure_replay")
        assert len({str(metadata) for metadata in shown.values()}) == 1
        assert "user-3" not in "".join(str(event) for event in result.all_events)

    def test_an_erased_user_who_is_still_present_stops_the_releases(self, folder: Folder, tmp_path: Path) -> None:
        """The blocking check finds a pseudonym in any file, nothing downstream runs and nothing is charged."""
        folder.erase("user-3", through=ago(1))
        with folder.lake.open() as workspace:
            flush_deletes(workspace)
            epoch = workspace.salts.calendar.epoch_of(ago(2))
            key = int(user_keys(workspace.salts.epoch_key(epoch), [b"user-3"])[0])
            place = workspace.lake.root / "reports" / "left.bin"
            place.write_bytes(key.to_bytes(8, "little"))
        result = folder.run("daily_release_job", past(3))
        assert not result.success
        assert folder.materialised("daily_sketches") == set()
        assert folder.charges() == 0
        evaluation = next(each for each in result.get_asset_check_evaluations() if each.check_name == "no_erased_user")
        assert evaluation.description.startswith("reports/left.bin: holds the pseudonym")
        place.unlink()
        assert folder.run("daily_release_job", past(3)).success

    @pytest.mark.slow
    def test_a_file_that_is_part_of_nothing_is_a_warning(self, folder: Folder) -> None:
        """A foreign file is reported by the check, and the day is released all the same."""
        (folder.settings.root / "lake" / "notes.txt").write_text("nothing")
        result = folder.run("daily_release_job", past(1))
        assert result.success
        evaluation = next(each for each in result.get_asset_check_evaluations() if each.check_name == "no_erased_user")
        assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert evaluation.description.startswith("lake/notes.txt")


class TestRefusals:
    @pytest.mark.slow
    def test_a_refused_day_does_not_lose_the_released_ones(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        """With budget for some days the step fails naming the others; the released ones are recorded and exported."""
        folder = make_folder(tmp_path, instance, mechanism="gaussian", dau_budget_total=0.7)
        folder.ingest("activity.csv", activity(past(10)))
        days = past(min(10, max(2, TODAY.day - 1))) if TODAY.day > 2 else past(10, TODAY.day + 1)
        result = folder.run("daily_release_job", days)
        assert not result.success
        released = folder.materialised("dau_release")
        assert 0 < len(released) < len(days)
        assert sorted(released) == sorted(_keys(days))[: len(released)]
        assert folder.materialised("mau_release") == _keys(days)
        assert folder.materialised("published_metrics") == _keys(days)
        failure = result.failure_data_for_node("dp_releases")
        assert failure is not None and failure.user_failure_data is not None
        refused = sorted(_keys(days) - released)
        assert refused[0] in str(failure.user_failure_data.description)
        assert "of 0.700" in str(failure.user_failure_data.description)
        with (folder.settings.root / "published" / "metrics.csv").open(encoding="utf-8", newline="") as lines:
            assert len(list(csv.DictReader(lines))) == len(released) + 2 * len(days)
        charges = folder.charges()
        assert not folder.run("daily_release_job", days).success
        assert folder.charges() == charges

    @pytest.mark.slow
    def test_a_refusal_is_not_retried(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        """A retry cannot help a spent budget, and must not look like an attempt to get past it."""
        folder = make_folder(tmp_path, instance, mechanism="gaussian", dau_budget_total=0.01)
        folder.ingest("activity.csv", activity(past(2)))
        result = folder.run("daily_release_job", past(2))
        assert not result.success
        assert not [event for event in result.all_events if event.is_step_up_for_retry]

    @pytest.mark.slow
    def test_an_open_day_is_refused_and_earlier_days_are_released(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """Yesterday is still open: it stays staged and unreleased, the days before are out."""
        folder = make_folder(tmp_path, instance, day_close_delay_hours=24)
        folder.ingest("activity.csv", activity(past(4)))
        result = folder.run("daily_release_job", past(4))
        assert not result.success
        failure = result.failure_data_for_node("dp_releases")
        assert failure is not None and failure.user_failure_data is not None
        assert f"{ago(1)} is not closed yet" in str(failure.user_failure_data.description)
        assert folder.materialised("dau_release") == _keys(past(4, 2))
        assert folder.charges() == 9
        with folder.lake.open() as workspace, workspace.ledger.read() as connection:
            staged = connection.exec_driver_sql("SELECT DISTINCT day FROM staged_files").scalars().all()
        assert staged == [ago(1).isoformat()]

    @pytest.mark.slow
    def test_without_a_series_the_failure_says_what_to_set(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        """The one line names the setting; data is built all the same."""
        folder = make_folder(tmp_path, instance, series_start=None)
        folder.ingest("activity.csv", activity(past(2)))
        result = folder.run("daily_release_job", past(2))
        assert not result.success
        failure = result.failure_data_for_node("dp_releases")
        assert failure is not None and failure.user_failure_data is not None
        assert "SERIES_START" in str(failure.user_failure_data.description)
        assert folder.materialised("mau_unions") == _keys(past(2))


class TestFailures:
    def test_an_unexpected_error_leaves_no_value_of_the_data_behind(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A library's message may quote an id: only type and place reach Dagster."""

        def broken(*_: Any) -> None:
            raise ValueError("could not convert 'user-17' to a number")

        monkeypatch.setattr("dpdau_assets.orchestration.assets.raw_events.fold", broken)
        result = folder.run("rebuild_job", past(2))
        assert not result.success
        events = "".join(str(event) for event in result.all_events)
        assert "unexpected ValueError" in events
        assert "user-17" not in events

    def test_damaged_data_fails_with_message_and_next_step(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What stands on the page is our own line, and no retry is tried."""

        def damaged(*_: Any) -> None:
            raise DataError("a file does not hold the recorded bytes", hint="run `dpdau rebuild`")

        monkeypatch.setattr("dpdau_assets.orchestration.assets.raw_events.fold", damaged)
        result = folder.run("rebuild_job", past(2))
        failure = result.failure_data_for_node("raw_events")
        assert failure is not None and failure.user_failure_data is not None
        assert failure.user_failure_data.description == ("a file does not hold the recorded bytes; run `dpdau rebuild`")
        assert not [event for event in result.all_events if event.is_step_up_for_retry]


class TestIngestJob:
    def test_files_are_staged_and_leave_the_inbox(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        """The op reads the named files; nothing it records tells more than how many files and days there were."""
        folder = make_folder(tmp_path, instance)
        path = folder.drop("day.csv", activity(past(2)))
        job = folder.definitions.resolve_job_def("ingest_job")
        config = {"ops": {"stage_inbox_files": {"config": {"names": ["day.csv"]}}}}
        result = job.execute_in_process(run_config=config, instance=instance)
        assert result.success
        assert not path.exists()
        assert "user-" not in "".join(str(event) for event in result.all_events)


class TestSplit:
    @pytest.mark.parametrize(("last", "expected"), [(0, [1, 4]), (5, [5]), (9, [5]), (-1, [5])])
    def test_a_range_is_split_where_days_stop_being_closed(self, last: int, expected: list[int]) -> None:
        """Both parts together are the range, and neither is empty."""
        days = past(5)
        parts = resources.split_at(days, days.first + timedelta(days=last))
        assert [len(part) for part in parts] == expected
        assert [day for part in parts for day in part] == days.days()
