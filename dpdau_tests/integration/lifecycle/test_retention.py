"""Retention: what is past it is gone from every file, windows over it are frozen, and the rest counts as before."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dpdau_assets.core.hashing import user_key
from dpdau_assets.core.quantities import METRICS, DayRange, window_days
from dpdau_assets.errors import ConfigurationError, DataError, OutsideSeriesError
from dpdau_assets.operations.budget.shared_noise import shared_noise_keys
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.orchestration.resources import LakeResource, resources
from dpdau_assets.settings.settings import load_settings
from dpdau_assets.storage.ledger import erasures, frozen_windows, partitions
from dpdau_assets.storage.ledger.ledger import set_meta, time_text
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_tests.support.command_line import CommandLine, write_lines
from dpdau_tests.support.crashes import Interrupted, count_steps, dies_at, sampled
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.release_folders import open_folder
from dpdau_tests.support.workspaces import Event, copy_of, digests, key_files, new_workspace, stage_activity

pytestmark = [pytest.mark.untraced, pytest.mark.one_is_enough]

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
TODAY = NOW.date()
WINDOW, KEPT = 12, 50
FLOOR = TODAY - timedelta(days=KEPT)
FIRST = TODAY - timedelta(days=100)
DAYS = DayRange(FIRST, TODAY - timedelta(days=1))
MAU_LIVE_FROM = FLOOR + timedelta(days=WINDOW - 1)
OLD, NEW, BOTH = "only-early", "only-late", "all-along"

EVENTS: list[Event] = [
    *(
        (f"user-{number}", FIRST + timedelta(days=(number * 7 + step * 3) % 100))
        for number in range(25)
        for step in range(8)
    ),
    *((OLD, FIRST + timedelta(days=offset)) for offset in range(0, 45, 5)),
    *((NEW, FLOOR + timedelta(days=offset)) for offset in range(0, 40, 5)),
    *((BOTH, FIRST + timedelta(days=offset)) for offset in range(0, 99, 9)),
]


Maker = Callable[..., Workspace]
"""Gives a built folder of a hundred days, opened without retention."""


@pytest.fixture(scope="module")
def folder_with(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes folders; each kind is built once and copied."""
    built: dict[str, Workspace] = {}

    def make(root: Path, **chosen: Any) -> Workspace:
        kind = repr(chosen)
        if kind not in built:
            built[kind] = build_folder(tmp_path_factory.mktemp("built") / "data", **chosen)
        return copy_of(built[kind], root)

    return make


def build_folder(root: Path, **chosen: Any) -> Workspace:
    settings = {
        "hash_salt_rotation_days": 20,
        "mau_window_days": WINDOW,
        "series_start": FIRST,
        "sketch_impl": "set",
        "expected_users": 30,
        "sketch_k": 4096,
        **chosen,
    }
    workspace = new_workspace(root, now=NOW, **settings)
    stage_activity(workspace, EVENTS)
    bring_up_to_date(workspace, DAYS)
    return workspace


def with_retention(workspace: Workspace, *, now: datetime = NOW, days: int | None = KEPT) -> Workspace:
    """The same folder with RETENTION_DAYS."""
    workspace.close()
    settings = workspace.settings.model_copy(update={"retention_days": days})
    return open_workspace(settings, clock=lambda: now)


def retain(workspace: Workspace) -> object:
    return apply_retention(workspace)


def holding(workspace: Workspace, user: str, *, epochs: dict[int, bytes]) -> set[str]:
    """Files with a pseudonym of `user` under any epoch, the salt store aside; the ledger's included."""
    numbers = [user_key(key, user.encode()) for key in epochs.values()]
    needles = [number.to_bytes(8, order) for number in numbers for order in ("little", "big")]
    root = workspace.lake.root
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and any(needle in path.read_bytes() for needle in needles)
    }


def epoch_keys(workspace: Workspace) -> dict[int, bytes]:
    """The keys of every epoch of the test's days, taken before any is destroyed."""
    calendar = workspace.salts.calendar
    wanted = range(calendar.window_epoch(FIRST - timedelta(days=WINDOW)), calendar.epoch_of(TODAY) + 1)
    return {epoch: workspace.salts.epoch_key(epoch) for epoch in wanted}


def days_of(workspace: Workspace, place: str) -> list[date]:
    """The days that have a file in a place."""
    files = (workspace.lake.root / place).glob("day=*/*.parquet")
    return sorted({date.fromisoformat(path.parent.name[4:]) for path in files})


class TestWhatGoes:
    @pytest.mark.parametrize("impl", ["set", "kmv"])
    @pytest.mark.one_is_enough
    def test_no_file_holds_a_pseudonym_of_a_day_that_went(self, tmp_path: Path, folder_with: Maker, impl: str) -> None:
        """Folders before the floor are gone, and who was active only then is in no file under any epoch's key."""
        workspace = folder_with(tmp_path / "data", sketch_impl=impl)
        stage_activity(workspace, [("late", FLOOR - timedelta(days=1)), ("late", FLOOR)])  # stays staged
        keys = epoch_keys(workspace)
        assert holding(workspace, OLD, epochs=keys)
        done = apply_retention(with_retention(workspace))
        assert done.held_from == FLOOR
        for place in ("staging", "lake/raw_events", "lake/erasure_replay", "lake/daily_sketches"):
            assert not [day for day in days_of(workspace, place) if day < FLOOR], place
        assert days_of(workspace, "staging") == [FLOOR]
        assert holding(workspace, OLD, epochs=keys) == set()
        assert holding(workspace, NEW, epochs=keys)

    @pytest.mark.slow
    def test_tombstones_that_concern_no_day_go_and_others_stay(self, tmp_path: Path, folder_with: Maker) -> None:
        """An erasure through a day before the floor leaves no trace in the ledger's file; a later one keeps rows."""
        workspace = folder_with(tmp_path / "data")
        keys = epoch_keys(workspace)
        request_erasure(workspace, [b"gone-early"], through=FLOOR - timedelta(days=1), now=NOW)
        request_erasure(workspace, [b"gone-late"], through=FLOOR, now=NOW)
        flush_deletes(workspace)
        ledger = {"ledgers/ledger.sqlite"}
        workspace.ledger.scrub()
        assert holding(workspace, "gone-early", epochs=keys) == ledger
        workspace = with_retention(workspace)
        apply_retention(workspace)
        assert holding(workspace, "gone-early", epochs=keys) == set()
        assert holding(workspace, "gone-late", epochs=keys) == ledger
        with workspace.ledger.read() as connection:
            assert min(erasures.epochs(connection)) >= workspace.salts.lowest_epoch

    def test_secrets_of_epochs_that_no_held_day_needs_are_destroyed(self, tmp_path: Path, folder_with: Maker) -> None:
        """An epoch goes when the last day keyed under it is before the floor, and cannot be derived again."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        calendar = workspace.salts.calendar
        done = apply_retention(workspace)
        lowest = done.lowest_epoch
        assert calendar.keyed_days(lowest - 1, WINDOW).last < FLOOR <= calendar.keyed_days(lowest, WINDOW).last
        for held in (workspace, with_retention(workspace)):
            with pytest.raises(DataError, match="was destroyed"):
                held.salts.epoch_key(lowest - 1)
            held.salts.epoch_key(lowest)
        assert list(json.loads(workspace.lake.secrets_path.read_text())["secrets"]) == [str(lowest)]
        assert done.is_first_secret_set

    def test_secrets_go_although_the_run_was_killed(
        self, tmp_path: Path, folder_with: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between replacing the store and wiping the old file, the next run finds and wipes that."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        write = os.pwrite

        def dies(descriptor: int, content: bytes, offset: int) -> int:
            if not any(content):
                raise Interrupted
            return write(descriptor, content, offset)

        with workspace.lake.secrets_path.open("rb") as old:
            with monkeypatch.context() as patched, pytest.raises(Interrupted):
                patched.setattr(os, "pwrite", dies)
                apply_retention(workspace)
            apply_retention(with_retention(workspace))
            assert set(old.read()) == {0}
        assert {path.name for path in workspace.lake.secrets_path.parent.iterdir()} == {"salts.json", ".lock"}

    def test_secrets_wait_for_the_backups_that_need_them(self, tmp_path: Path, folder_with: Maker) -> None:
        """While an unexpired backup is keyed under an epoch its secret stays; afterwards it goes."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        needed = workspace.salts.calendar.epoch_of(FLOOR - timedelta(days=60))
        workspace.lake.backups.mkdir()
        manifest = {"expires_at": (NOW + timedelta(days=3)).isoformat(), "lowest_epoch": needed}
        (workspace.lake.backups / "ledger-20260627.json").write_text(json.dumps(manifest))
        done = apply_retention(workspace)
        assert (done.lowest_epoch, done.lowest_epoch_needed_by_backups) == (needed, needed)
        later = apply_retention(with_retention(workspace, now=NOW + timedelta(days=3)))
        assert later.lowest_epoch > needed
        assert later.lowest_epoch_needed_by_backups is None

    def test_a_manifest_that_cannot_be_read_keeps_every_secret(self, tmp_path: Path, folder_with: Maker) -> None:
        """What a broken backup may need is not destroyed."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        workspace.lake.backups.mkdir()
        (workspace.lake.backups / "ledger-20260627.json").write_text("{")
        assert apply_retention(workspace).lowest_epoch == 0


class TestWhatStays:
    @pytest.mark.parametrize("impl", ["set", "kmv"])
    def test_every_count_is_as_before(self, tmp_path: Path, folder_with: Maker, impl: str) -> None:
        """Frozen windows keep their stored counts, live ones are counted from what is held."""
        workspace = folder_with(tmp_path / "data", sketch_impl=impl)
        before = count_trusted(workspace, DAYS.first, DAYS.last)
        workspace = with_retention(workspace)
        apply_retention(workspace)
        assert count_trusted(workspace, DAYS.first, DAYS.last) == before
        counts = snapshot_counts(workspace, DayRange(MAU_LIVE_FROM - timedelta(days=1), DAYS.last), METRICS)
        with pytest.raises(OutsideSeriesError, match="past retention"):
            counts.below("mau", MAU_LIVE_FROM - timedelta(days=1))
        for row in before:
            day = date.fromisoformat(str(row["day"]))
            if day >= MAU_LIVE_FROM:
                assert [counts.below(metric, day) for metric in METRICS] == [row[metric] for metric in METRICS]

    def test_frozen_counts_are_never_recomputed(self, tmp_path: Path, folder_with: Maker) -> None:
        """Late data and erasures on held days change live windows and leave the frozen ones as they were."""
        workspace = folder_with(tmp_path / "data")
        workspace = with_retention(workspace)
        apply_retention(workspace)
        before = {row["day"]: row for row in count_trusted(workspace, DAYS.first, DAYS.last)}
        source = write_lines(tmp_path / "late.jsonl", [("newcomer", FLOOR), ("newcomer", FLOOR - timedelta(days=1))])
        report = stage_files(workspace, [source])
        assert (report.accepted, dict(report.rejected)) == (1, {"too_old": 1})
        request_erasure(workspace, [BOTH.encode()], through=TODAY, now=NOW)
        flush_deletes(workspace)
        rebuild(workspace, DAYS)
        activity = [*EVENTS, ("newcomer", FLOOR)]
        naive = {row["day"]: row for row in naive_counts(activity, [(BOTH, TODAY)], DAYS, mau_window_days=WINDOW)}
        changed = 0
        for row in count_trusted(workspace, DAYS.first, DAYS.last):
            for metric in METRICS:
                day = date.fromisoformat(str(row["day"]))
                is_frozen = day - timedelta(days=window_days(metric, WINDOW) - 1) < FLOOR
                expected = before[row["day"]] if is_frozen else naive[row["day"]]
                assert row[metric] == expected[metric], (day, metric)
                changed += expected[metric] != naive[row["day"]][metric]
        assert changed > 10

    def test_erased_users_leave_every_file_of_held_days(self, tmp_path: Path, folder_with: Maker) -> None:
        """After retention an erasure is complete and the user is in no file but the ledger."""
        workspace = folder_with(tmp_path / "data", sketch_impl="kmv")
        keys = epoch_keys(workspace)
        workspace = with_retention(workspace)
        apply_retention(workspace)
        request_erasure(workspace, [BOTH.encode()], through=TODAY, now=NOW)
        assert flush_deletes(workspace) == 1
        workspace.ledger.scrub()
        assert holding(workspace, BOTH, epochs=keys) == {"ledgers/ledger.sqlite"}
        bring_up_to_date(workspace, DAYS)
        with workspace.ledger.read() as connection:
            assert erasures.pending(connection) == []

    @pytest.mark.slow
    def test_an_estimate_is_kept_but_not_called_exact(self, tmp_path: Path, folder_with: Maker) -> None:
        """A sketch that is full leaves its estimate; trusted counts, which are exact, then show none."""
        workspace = folder_with(tmp_path / "data", sketch_impl="kmv", sketch_k=16)
        stage_activity(workspace, [(f"more-{number}", FLOOR - timedelta(days=6)) for number in range(40)])
        bring_up_to_date(workspace, DAYS)
        workspace = with_retention(workspace)
        apply_retention(workspace)
        with workspace.ledger.read() as connection:
            kept = frozen_windows.load(connection, FLOOR - timedelta(days=5), FLOOR - timedelta(days=5))
        estimate = kept[FLOOR - timedelta(days=5), WINDOW]
        assert (estimate.is_exact, estimate.users > 16) == (False, True)
        (row,) = count_trusted(workspace, FLOOR - timedelta(days=5), FLOOR - timedelta(days=5))
        assert row["mau"] is None
        assert row["dau"] is not None


class TestReleases:
    def test_the_calendar_decides_which_can_still_be_made(self, tmp_path: Path, folder_with: Maker) -> None:
        """Before and after the run alike: the first day whose window is held is released, the day before is refused."""
        untouched = with_retention(folder_with(tmp_path / "data"))
        dropped = copy_of(untouched, tmp_path / "dropped")
        apply_retention(dropped)
        for workspace in (untouched, dropped):
            for metric in METRICS:
                first = FLOOR + timedelta(days=window_days(metric, WINDOW) - 1)
                with pytest.raises(OutsideSeriesError, match=f"kept from {FLOOR} on"):
                    publish_releases(workspace, [metric], DayRange.single(first - timedelta(days=1)))
                assert publish_releases(workspace, [metric], DayRange.single(first)).newly_released

    def test_released_values_stay_and_cannot_be_revised(self, tmp_path: Path, folder_with: Maker) -> None:
        """What was released before is answered as it was; another draw of it is refused."""
        workspace = folder_with(tmp_path / "data")
        day = DayRange.single(FLOOR - timedelta(days=20))
        before = publish_releases(workspace, METRICS, day).values
        workspace = with_retention(workspace)
        apply_retention(workspace)
        assert publish_releases(workspace, METRICS, day).values == before
        with pytest.raises(OutsideSeriesError):
            publish_releases(workspace, ["dau"], day, revise=True, reason="a test")

    def test_the_last_month_can_always_be_released(self, tmp_path: Path, folder_with: Maker) -> None:
        """With the least RETENTION_DAYS that is allowed, every metric of the last 31 days is releasable."""
        workspace = with_retention(folder_with(tmp_path / "data"), days=WINDOW + 31)
        apply_retention(workspace)
        done = publish_releases(workspace, ["mau"], DayRange.single(TODAY - timedelta(days=31)))
        assert len(done.newly_released) == 1


class TestRuns:
    def test_a_repeat_changes_nothing(self, tmp_path: Path, folder_with: Maker) -> None:
        """Files, digests and the ledger's changes are as after the first run."""
        workspace = with_retention(folder_with(tmp_path / "data", sketch_impl="kmv"))
        first = apply_retention(workspace)
        state = key_files(workspace), digests(workspace), workspace.lake.secrets_path.read_bytes()
        assert apply_retention(workspace) == first
        assert (key_files(workspace), digests(workspace), workspace.lake.secrets_path.read_bytes()) == state

    def test_the_floor_moves_with_the_calendar_and_never_back(self, tmp_path: Path, folder_with: Maker) -> None:
        """A day later one more day goes; a longer RETENTION_DAYS afterwards brings nothing back."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        apply_retention(workspace)
        later = with_retention(workspace, now=NOW + timedelta(days=1))
        assert apply_retention(later).held_from == FLOOR + timedelta(days=1)
        assert min(days_of(later, "lake/raw_events")) == FLOOR + timedelta(days=1)
        for days in (KEPT + 30, None):
            longer = with_retention(later, now=NOW + timedelta(days=1), days=days)
            assert apply_retention(longer).held_from == FLOOR + timedelta(days=1)
        report = stage_files(longer, [write_lines(tmp_path / "late.jsonl", [("late", FLOOR)])])
        assert dict(report.rejected) == {"too_old": 1}

    def test_the_door_closes_by_the_calendar(self, tmp_path: Path, folder_with: Maker) -> None:
        """Before any run has dropped anything, events of days past retention are refused as too old."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        rows = [("late", FLOOR), ("late", FLOOR - timedelta(days=1))]
        report = stage_files(workspace, [write_lines(tmp_path / "late.jsonl", rows)])
        assert (report.accepted, dict(report.rejected)) == (1, {"too_old": 1})

    def test_a_clock_set_far_ahead_drops_nothing(self, tmp_path: Path, folder_with: Maker) -> None:
        """After months in which nothing happened a person must confirm the day; the right one is then believed."""
        later = NOW + timedelta(days=3650)
        workspace = with_retention(folder_with(tmp_path / "data"), now=later)
        before = key_files(workspace)
        for answer in (None, TODAY):
            with pytest.raises(ConfigurationError, match=f"the clock says {later.date()}"):
                apply_retention(workspace, confirmed_today=answer)
        assert key_files(workspace) == before
        assert apply_retention(workspace, confirmed_today=later.date()).held_from == FLOOR + timedelta(days=3650)
        assert days_of(workspace, "lake/raw_events") == []

    def test_a_clock_that_was_ahead_for_a_moment_drops_nothing(self, tmp_path: Path, folder_with: Maker) -> None:
        """A slip of a year is not recorded by a release; one that was, by a clock of before, moves no floor."""
        ahead = with_retention(folder_with(tmp_path / "data"), now=NOW + timedelta(days=365))
        with pytest.raises(ConfigurationError, match="the clock says"):
            publish_releases(ahead, ["dau"], DayRange.single(TODAY))
        with ahead.ledger.write() as connection:
            set_meta(connection, "clock_high_water", time_text(NOW + timedelta(days=3650)))
        workspace = with_retention(ahead)
        before = days_of(workspace, "lake/raw_events")
        assert apply_retention(workspace).held_from == FLOOR
        assert days_of(workspace, "lake/raw_events") == [day for day in before if day >= FLOOR]
        stage_activity(workspace, [("user-1", TODAY)])
        assert count_trusted(workspace, TODAY, TODAY)[0]["dau"] == 1

    def test_without_the_setting_nothing_goes(self, tmp_path: Path, folder_with: Maker) -> None:
        """Everything is kept, and the run says so."""
        workspace = folder_with(tmp_path / "data")
        before = key_files(workspace)
        done = apply_retention(workspace)
        assert (done.held_from, done.lowest_epoch) == (None, 0)
        assert key_files(workspace) == before

    @pytest.mark.slow
    def test_a_damaged_file_past_retention_does_not_hold_it_up(self, tmp_path: Path, folder_with: Maker) -> None:
        """Its count is lost, its day goes."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        day = FLOOR - timedelta(days=10)
        workspace.lake.windows_path(day).write_bytes(b"damaged")
        assert apply_retention(workspace).held_from == FLOOR
        assert count_trusted(workspace, day, day)[0]["mau"] is None

    @pytest.mark.slow
    def test_killed_anywhere_the_next_run_ends_where_one_run_ends(self, tmp_path: Path, folder_with: Maker) -> None:
        """After a kill before any step, and again halfway, files, digests, counts and secrets are those of one run."""
        check_kills(folder_with, tmp_path, points=3)

    @pytest.mark.slow
    @pytest.mark.timeout(1800)
    def test_many_steps_can_be_the_last(self, tmp_path: Path, folder_with: Maker) -> None:
        """The same for a hundred steps, evenly spread over all of them."""
        check_kills(folder_with, tmp_path, points=100)


def check_kills(folder_with: Maker, folder: Path, *, points: int) -> None:
    begun = folder_with(folder / "begun", sketch_impl="kmv")
    stage_activity(begun, [("late", FLOOR - timedelta(days=1)), ("late", FLOOR)])
    request_erasure(begun, [BOTH.encode()], through=FLOOR + timedelta(days=3), now=NOW)
    keys = epoch_keys(begun)
    begun = with_retention(begun)
    whole = copy_of(begun, folder / "whole")
    steps = count_steps(retain, whole)
    assert steps > 30

    def state(workspace: Workspace) -> tuple[object, ...]:
        flush_deletes(workspace)
        counts = count_trusted(workspace, DAYS.first, DAYS.last)
        return key_files(workspace), digests(workspace), counts, workspace.lake.secrets_path.read_bytes()

    expected = state(whole)
    for step in sampled(steps, count=points):
        workspace = copy_of(begun, folder / f"dies-{step}")
        assert dies_at(step, retain, workspace)
        dies_at(max(1, step // 2), retain, workspace)
        workspace = open_workspace(workspace.settings, clock=workspace.clock)
        apply_retention(workspace)
        assert state(workspace) == expected, f"killed before step {step} of {steps}"
        assert holding(workspace, OLD, epochs=keys) == set()


class TestSettings:
    def test_too_short_a_retention_is_refused_with_the_reason(self) -> None:
        """RETENTION_DAYS must hold the windows of the last month."""
        with pytest.raises(ConfigurationError, match="is less than 61") as caught:
            load_settings(retention_days=60)
        assert "RETENTION_DAYS=61" in caught.value.hint
        assert load_settings(retention_days=61).retention_days == 61
        with pytest.raises(ConfigurationError):
            load_settings(retention_days=61, mau_window_days=31)


class TestEdges:
    def test_the_command_says_what_is_held(self, tmp_path: Path) -> None:
        """One JSON document; without the setting, a line that says so."""
        line = CommandLine(tmp_path / "project")
        line("ingest", "--from", write_lines(tmp_path / "events.jsonl", [("ann", date(2020, 3, 1))]))
        assert "everything is kept" in line("apply-retention").out
        (line.folder / ".env").write_text("RETENTION_DAYS=100\n")
        done = line.json("apply-retention")
        assert set(done) == {"held_from", "lowest_epoch", "lowest_epoch_needed_by_backups", "first_secret_is_set"}
        assert date.fromisoformat(done["held_from"]) <= datetime.now(UTC).date() - timedelta(days=99)
        assert not list((line.data / "staging").glob("day=*"))

    def test_dagster_runs_it_every_day(self, tmp_path: Path, folder_with: Maker) -> None:
        """The job drops what is past retention; its schedule asks for it where the setting is made."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        workspace.close()
        definitions = build_definitions(workspace.settings, lake=LakeResource(workspace.settings, clock=lambda: NOW))
        schedule = definitions.resolve_schedule_def("retention_schedule")
        with dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_schedule_context(
                instance=instance, scheduled_execution_time=NOW, resources=resources(LakeResource(workspace.settings))
            )
            assert schedule.evaluate_tick(context).run_requests
            assert definitions.resolve_job_def("retention_job").execute_in_process(instance=instance).success
        assert min(days_of(workspace, "lake/raw_events")) == FLOOR

    def test_keys_of_shared_noise_go_though_everything_is_kept_and_nothing_released(self, tmp_path: Path) -> None:
        """Without RETENTION_DAYS the daily run is asked for on the day after an offset's last, and never again."""
        released = datetime(2025, 2, 1, 12, tzinfo=UTC)
        workspace = open_folder(tmp_path / "data", mechanism="correlated", now=released)
        publish_releases(workspace, ("dau",), DayRange.single(date(2025, 1, 1)))
        keys = shared_noise_keys(workspace)
        workspace.close()
        with dg.DagsterInstance.ephemeral() as instance:
            for day in (7, 8, 9):
                lake = LakeResource(workspace.settings, clock=lambda day=day: datetime(2025, 3, day, 1, 30, tzinfo=UTC))
                definitions = build_definitions(workspace.settings, lake=lake)
                context = dg.build_schedule_context(
                    instance=instance, scheduled_execution_time=lake.clock(), resources=resources(lake)
                )
                tick = definitions.resolve_schedule_def("retention_schedule").evaluate_tick(context)
                with lake.open() as again:
                    waiting = [line for line in verify(again).pending if "offset" in line]
                assert (bool(tick.run_requests), len(waiting)) == ((True, 1) if day == 8 else (False, 0))
                if tick.run_requests:
                    assert keys.kept()
                    assert definitions.resolve_job_def("retention_job").execute_in_process(instance=instance).success
                    assert not keys.kept()


class TestWithTheRest:
    @pytest.mark.parametrize("later", [10, 40])
    @pytest.mark.one_is_enough
    def test_a_restored_ledger_brings_nothing_back(self, tmp_path: Path, folder_with: Maker, later: int) -> None:
        """Restored from backup and journal, or from the journal alone: floor, counts and epochs are as before."""
        workspace = folder_with(tmp_path / "data")
        request_erasure(workspace, [BOTH.encode()], through=FLOOR - timedelta(days=3), now=NOW)
        flush_deletes(workspace)
        backup(workspace)
        keys = epoch_keys(workspace)
        workspace = with_retention(workspace, now=NOW + timedelta(days=later))
        days = DayRange(DAYS.first, TODAY + timedelta(days=later - 1))
        bring_up_to_date(workspace, days)
        before = count_trusted(workspace, days.first, days.last)
        done = apply_retention(workspace)
        assert (done.lowest_epoch_needed_by_backups is None) == (later == 40)
        workspace.close()
        for path in workspace.lake.ledger_path.parent.glob("ledger.sqlite*"):
            path.unlink()
        restore(workspace.settings, clock=workspace.clock)
        again = open_workspace(workspace.settings, clock=workspace.clock)
        assert [finding.message for finding in verify(again).findings] == []
        assert apply_retention(again) == done
        assert count_trusted(again, days.first, days.last) == before
        assert holding(again, OLD, epochs=keys) == set()
        bring_up_to_date(again, days)
        assert [finding.message for finding in verify(again).findings] == []

    def test_data_put_back_leaves_out_days_that_went(self, tmp_path: Path, folder_with: Maker) -> None:
        """An erasure through an old day, retention, then the copy of before both: the user is nowhere, all verifies."""
        workspace = folder_with(tmp_path / "data")
        stage_activity(workspace, [("late", FLOOR - timedelta(days=1)), ("late", FLOOR)])  # stays staged
        backup(workspace, with_lake=True)
        request_erasure(workspace, [OLD.encode()], through=FLOOR - timedelta(days=1), now=NOW)
        flush_deletes(workspace)
        keys = epoch_keys(workspace)
        workspace = with_retention(workspace)
        apply_retention(workspace)
        workspace.close()
        done = restore(workspace.settings, with_lake=True, clock=workspace.clock)
        again = open_workspace(workspace.settings, clock=workspace.clock)
        assert (done.lake, min(days_of(again, "lake/raw_events"))) == ("lake-20260630", FLOOR)
        assert days_of(again, "staging") == [FLOOR]
        assert {place for place in holding(again, OLD, epochs=keys) if not place.startswith("backups/")} == set()
        assert [finding.message for finding in verify(again).findings] == []

    @pytest.mark.parametrize("place", ["partitions", "staging"])
    def test_rows_of_days_that_went_are_found(self, tmp_path: Path, folder_with: Maker, place: str) -> None:
        """A row of a day before the floor is no row like others: nobody knows any more who was erased there."""
        workspace = with_retention(folder_with(tmp_path / "data"))
        apply_retention(workspace)
        assert verify(workspace).ok
        day = FLOOR - timedelta(days=1)
        if place == "staging":
            stage_activity(workspace, [("late", day)])
        else:
            with workspace.ledger.write() as connection:
                partitions.save(connection, [Partition("raw_events", day, {}, "", 0)], now=NOW)
        (finding,) = verify(workspace).findings
        assert (finding.kind, finding.repair.line) == ("ledger", "dpdau apply-retention")
        apply_retention(workspace)
        assert verify(workspace).ok

    @pytest.mark.parametrize("impl", ["set", "kmv"])
    @pytest.mark.slow
    def test_a_folder_after_retention_verifies(self, tmp_path: Path, folder_with: Maker, impl: str) -> None:
        """With erasures before and after, nothing is found that must not be there."""
        workspace = folder_with(tmp_path / "data", sketch_impl=impl)
        request_erasure(workspace, [BOTH.encode()], through=FLOOR - timedelta(days=3), now=NOW)
        flush_deletes(workspace)
        workspace = with_retention(workspace)
        apply_retention(workspace)
        request_erasure(workspace, [NEW.encode()], through=TODAY, now=NOW)
        flush_deletes(workspace)
        assert [finding.message for finding in verify(workspace).findings] == []
