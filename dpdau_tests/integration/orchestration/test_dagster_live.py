"""A real daemon and a real webserver over a real home: what happens without anyone watching."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_tests.support.dagster_folder import TODAY, activity, ago, past
from dpdau_tests.support.dagster_processes import SELECTOR, LiveDagster, live_dagster

pytestmark = pytest.mark.untraced

SERIES = past(40)
ERASED = "user-1"
SCHEDULE_ID = """query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { ... on Schedule { id } } }"""
STOP_SCHEDULE = """mutation($id: String!) { stopRunningSchedule(id: $id) { __typename
  ... on PythonError { message } } }"""
START_SCHEDULE = """mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename
  ... on PythonError { message } } }"""
BACKFILL = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename
  ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
    assetKey { path } numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveDagster]:
    with live_dagster(
        tmp_path / "project",
        SERIES_START=ago(40).isoformat(),
        SKETCH_IMPL="set",
        DAY_CLOSE_DELAY_HOURS="0",
    ) as made:
        yield made


def _csv(rows: list[tuple[str, Any]]) -> str:
    return "\n".join(["user_id,day", *(f"{user},{day}" for user, day in rows)]) + "\n"


def _drop(live: LiveDagster, name: str, rows: list[tuple[str, Any]]) -> Path:
    """Puts a file into the inbox the way a careful sender does."""
    inbox = live.project / "data" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{name}.part").write_text(_csv(rows), encoding="utf-8")
    return (inbox / f"{name}.part").rename(inbox / name)


def _ingest(live: LiveDagster, rows: list[tuple[str, Any]]) -> None:
    source = live.project / f"source-{time.monotonic_ns()}.csv"
    source.write_text(_csv(rows), encoding="utf-8")
    live.dpdau("ingest", "--from", str(source), "--json")


def _published(live: LiveDagster) -> list[tuple[str, str]]:
    path = live.project / "data" / "published" / "metrics.csv"
    if not path.is_file():
        return []
    return [(row["metric"], row["day"]) for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))]


def _pending_erasures(live: LiveDagster) -> int:
    ledger = live.project / "data" / "ledgers" / "ledger.sqlite"
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM erasure_requests WHERE completed_at IS NULL"
        return int(connection.execute(query).fetchone()[0])


def _miss_a_tick(live: LiveDagster) -> None:
    """Makes the schedule's last tick one that was due while no daemon ran: it was switched on two days ago."""
    selector = {**SELECTOR, "scheduleName": "daily_release_schedule"}
    live.ask(STOP_SCHEDULE, id=live.ask(SCHEDULE_ID, s=selector)["scheduleOrError"]["id"])
    live.ask(START_SCHEDULE, s=selector)
    with live.instance() as instance:
        (state,) = [one for one in instance.all_instigator_state() if one.name == "daily_release_schedule"]
        started = time.time() - timedelta(days=2).total_seconds()
        data = ScheduleInstigatorData(state.instigator_data.cron_schedule, start_timestamp=started)
        instance.update_instigator_state(state.with_data(data))


def _digests(live: LiveDagster, days: DayRange) -> dict[tuple[str, str], str]:
    """What the ledger recorded of the sketches and windows of some days, by asset and day."""
    ledger = live.project / "data" / "ledgers" / "ledger.sqlite"
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT asset, day, digest FROM partitions WHERE asset IN ('daily_sketches', 'mau_unions')"
        return {(asset, day): digest for asset, day, digest in connection.execute(query) if day in _keys(days)}


def _materialised_after(live: LiveDagster, moment: float) -> set[tuple[str, str]]:
    """Asset and day of the sketches and windows that Dagster saw materialised after a Unix time."""
    with live.instance() as instance:
        return {
            (asset, str(record.partition_key))
            for asset in ("daily_sketches", "mau_unions")
            for record in instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_timestamp=moment), limit=1000
            ).records
        }


def _keys(days: DayRange) -> set[str]:
    return {day.isoformat() for day in days}


class TestUnattended:
    @pytest.mark.timeout(600)
    def test_files_erasures_and_the_nightly_release_are_served(self, live: LiveDagster) -> None:
        """A dropped file is staged and its days built, a tick missed while the daemon was down releases every day that
        closed since, and an erasure asked for afterwards leads to new days and windows."""
        rows = activity(past(5), users=30, seed=1)
        _ingest(live, rows)
        dropped = _drop(live, "events.csv", activity(past(39, 37), users=20, seed=2))
        live.start_webserver()
        _miss_a_tick(live)
        live.start_daemon()
        days = past(31)
        live.wait_until(
            lambda: len(_published(live)) == 93, "the missed tick releases 31 days of 3 metrics", seconds=180
        )
        assert set(_published(live)) == {(metric, day.isoformat()) for metric in METRICS for day in days}
        before, requested_at = _digests(live, past(5)), time.time()
        live.dpdau("erase", ERASED, "--through", TODAY.isoformat(), "--json")
        live.wait_until(lambda: not dropped.exists(), "the dropped file is staged", seconds=120)
        live.wait_until(
            lambda: _keys(past(39, 37)) <= live.materialised("mau_unions"), "its days are built", seconds=180
        )
        live.wait_until(lambda: _pending_erasures(live) == 0, "the erasure is applied", seconds=120)
        live.wait_until(lambda: all(run.is_finished for run in live.runs()), "every run ends", seconds=120)
        assert {run.status for run in live.runs()} == {dg.DagsterRunStatus.SUCCESS}
        assert {run.job_name for run in live.runs()} == {
            "ingest_job", "rebuild_job", "erasure_replay_job", "daily_release_job",
        }  # fmt: skip
        assert _keys(days) <= live.materialised("published_metrics")
        (released,) = live.runs("daily_release_job")
        with live.instance() as instance:
            checked = instance.all_logs(released.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        assert "no_erased_user" in str(checked)
        self._assert_rebuilt(live, rows, before=before, requested_at=requested_at)

    @staticmethod
    def _assert_rebuilt(
        live: LiveDagster, rows: list[tuple[str, date]], *, before: dict[tuple[str, str], str], requested_at: float
    ) -> None:
        """The days of the erased user and the windows over them were built after the request, count one user less, and
        no others were changed."""
        days = [day for user, day in rows if user == ERASED]
        assert 1 <= len(days) < len(past(5))
        windows = _keys(DayRange(days[0], ago(1)))
        rebuilt = {("daily_sketches", day.isoformat()) for day in days} | {("mau_unions", day) for day in windows}
        after = _digests(live, past(5))
        assert {key for key, digest in after.items() if digest != before[key]} == rebuilt
        assert rebuilt <= _materialised_after(live, requested_at)
        counts = json.loads(live.dpdau("trusted-counts", "--start", str(ago(5)), "--end", str(ago(1)), "--json"))
        for row in counts:
            of_day = {user for user, day in rows if day.isoformat() == row["day"]}
            of_windows = {user for user, day in rows if day.isoformat() <= row["day"]}
            expected = [len(of_day - {ERASED}), *[len(of_windows - {ERASED})] * 2]
            assert [row["dau"], row["wau"], row["mau"]] == expected


class TestOperated:
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_a_backfill_from_the_page_ends_well_and_a_second_daemon_changes_nothing(self, live: LiveDagster) -> None:
        """Thirty days asked for in the UI become few runs that reach every target, and charge each release once even
        where two daemons run over one home and the same backfill is asked for again."""
        _ingest(live, activity(SERIES, users=30))
        live.start_webserver()
        daemon = live.start_daemon()
        first = self._backfill(live, sorted(_keys(past(30))))
        for asset in ("raw_events", "daily_sketches"):
            assert first[asset]["numPartitionsTargeted"] == 30
        for counts in first.values():
            assert counts["numPartitionsFailed"] == 0
            assert counts["numPartitionsMaterialized"] == counts["numPartitionsTargeted"] >= 30
        assert len(live.runs()) <= 6
        budget = live.dpdau("budget", "mau", "--month", f"{ago(1):%Y-%m}", "--json")
        released = _published(live)
        second_daemon = live.start_daemon(log="daemon-2")
        self._backfill(live, sorted(_keys(past(30))))
        time.sleep(45)
        assert daemon.poll() is None
        live.stop(second_daemon)
        live.wait_until(lambda: all(run.is_finished for run in live.runs()), "every run ends", seconds=120)
        assert {run.status for run in live.runs()} == {dg.DagsterRunStatus.SUCCESS}
        assert live.dpdau("budget", "mau", "--month", f"{ago(1):%Y-%m}", "--json") == budget
        assert _published(live) == released

    @pytest.mark.slow
    @pytest.mark.timeout(600)
    def test_one_day_asked_for_in_the_page_charges_one_release_a_metric_and_day(self, live: LiveDagster) -> None:
        """A backfill of one old day widens to the windows over it: each of those is released once, never twice."""
        _ingest(live, activity(SERIES, users=30))
        live.start_webserver()
        live.start_daemon()
        counts = self._backfill(live, [ago(35).isoformat()])
        assert counts["raw_events"]["numPartitionsTargeted"] == 1
        assert counts["mau_unions"]["numPartitionsTargeted"] == 30
        made = _published(live)
        assert len(made) == len(set(made))
        assert self._backfill(live, [ago(35).isoformat()]) == counts
        assert _published(live) == made

    @staticmethod
    def _backfill(live: LiveDagster, partitions: list[str]) -> dict[str, dict[str, int]]:
        """Asks for all assets over `partitions` as the page does; the counts by asset once it has ended."""
        assets = ["raw_events", "erasure_replay", "daily_sketches", "mau_unions", "published_metrics"]
        assets += [f"{metric}_release" for metric in METRICS]
        answer = live.ask(
            BACKFILL, p={"partitionNames": partitions, "assetSelection": [{"path": [asset]} for asset in assets]}
        )
        number = answer["launchPartitionBackfill"]["backfillId"]

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = live.ask(BACKFILL_STATUS, id=number)["partitionBackfillOrError"]
            return found if found["status"] in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED") else None

        result = live.wait_until(ended, f"the backfill of {len(partitions)} days ends", seconds=240)
        assert result["status"] == "COMPLETED_SUCCESS", result
        return {
            one["assetKey"]["path"][0]: {name: count for name, count in one.items() if name != "assetKey"}
            for one in result["assetBackfillData"]["assetBackfillStatuses"]
        }
