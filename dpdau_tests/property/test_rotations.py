"""Rotations, by calendar and by hand, change no count: of any window, with late data and erasures."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpdau_assets.core.erasure import tombstone_epochs
from dpdau_assets.core.hashing import EpochCalendar, Segment, user_key
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.windows import window_of
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.operations.lifecycle.rotate_salt import rotate_salt
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.settings.settings import Settings
from dpdau_tests.support.command_line import write_lines
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import Event

FIRST = date(2026, 1, 1)
SPAN = 60
WINDOW = 12
QUIET: dict[str, Any] = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

offsets = st.integers(0, SPAN - 1)
days = offsets.map(lambda offset: FIRST + timedelta(days=offset))
users = st.integers(0, 6).map(lambda number: f"ü{number}")
lengths = st.sampled_from([1, 2, 3, 5, 7, 11, 30, 90])
rotations = st.lists(st.tuples(st.integers(1, 20), lengths), max_size=6)


def with_rotations(first: int, manual: list[tuple[int, int]]) -> EpochCalendar:
    """A calendar with manual rotations, each some days after the one before."""
    calendar, start = EpochCalendar.every(first), FIRST
    for gap, length in manual:
        start += timedelta(days=gap)
        number = calendar.epoch_of(start - timedelta(days=1)) + 1
        calendar = EpochCalendar((*calendar.segments, Segment(number, start, length)))
    return calendar


class TestInCore:
    @settings(max_examples=60, **QUIET)
    @given(
        first=lengths,
        manual=rotations,
        activity=st.lists(st.tuples(users, days), max_size=40),
        erased=st.lists(st.tuples(users, days), max_size=5),
        window_days=st.sampled_from([8, WINDOW, 30]),
    )
    def test_counts_by_pseudonym_are_counts_by_user(
        self,
        first: int,
        manual: list[tuple[int, int]],
        activity: list[Event],
        erased: list[Event],
        window_days: int,
    ) -> None:
        """Keyed, erased and counted by epoch under any calendar, every window of every day has the naive count."""
        calendar = with_rotations(first, manual)

        def pseudonym(epoch: int, user: str) -> int:
            return user_key(f"{epoch:064d}".encode(), user.encode())

        erased_keys: dict[tuple[int, int], date] = {}
        for user, through in erased:
            for epoch in tombstone_epochs(calendar, floor=FIRST, through=through, window_days=window_days):
                key = epoch, pseudonym(epoch, user)
                erased_keys[key] = max(through, erased_keys.get(key, through))
        keys: dict[tuple[date, int], set[int]] = {}
        for user, day in activity:
            for epoch in calendar.keyed_epochs(day, window_days):
                key = pseudonym(epoch, user)
                if erased_keys.get((epoch, key), date.min) < day:
                    keys.setdefault((day, epoch), set()).add(key)
        for row in naive_counts(
            activity, erased, DayRange(FIRST, FIRST + timedelta(days=SPAN + 30)), mau_window_days=window_days
        ):
            for metric in ("dau", "wau", "mau"):
                window = window_of(metric, date.fromisoformat(str(row["day"])), mau_window_days=window_days)
                epoch = calendar.window_epoch(window.first)
                assert len(set().union(*(keys.get((day, epoch), set()) for day in window))) == row[metric]


class Folder:
    """A data folder that time passes over, with manual rotations or without."""

    def __init__(self, root: Path, *, rotates: bool, **chosen: Any) -> None:
        self.root = root
        self.rotates = rotates
        self.rotated = 0
        self._sources = 0
        self._settings = Settings(data_dir=root / "data", hash_salt_secret="of the tests", **chosen)
        self._day = FIRST
        (root / "sources").mkdir(parents=True)

    def open(self) -> Workspace:
        now = datetime.combine(self._day, time(12), tzinfo=UTC)
        return open_workspace(self._settings, clock=lambda: now)

    def arrive(self, events: list[Event]) -> None:
        self._sources += 1
        path = write_lines(self.root / "sources" / f"{self._sources}.jsonl", events)
        workspace = self.open()
        stage_files(workspace, [path])
        workspace.close()

    def erase(self, user: str, through: date) -> None:
        workspace = self.open()
        request_erasure(workspace, [user.encode()], through=through, now=workspace.now())
        workspace.close()

    def rotate(self, length: int) -> None:
        """Rotates from the day after tomorrow on, later than anything that can have arrived."""
        if not self.rotates:
            return
        workspace = self.open()
        last = workspace.salts.calendar.segments[-1].first_day
        effective = max(self._day, last) + timedelta(days=2)
        rotate_salt(workspace, effective, rotation_days=length)
        workspace.close()
        self._settings = self._settings.model_copy(update={"hash_salt_rotation_days": length})
        self._settings.__dict__.pop("root", None)
        self.rotated += 1

    def pass_to(self, day: date) -> None:
        self._day = max(self._day, day)
        workspace = self.open()
        flush_deletes(workspace)
        bring_up_to_date(workspace, DayRange(self._day - timedelta(days=3), self._day))
        apply_retention(workspace)
        workspace.close()

    @property
    def today(self) -> date:
        return self._day


steps = st.one_of(
    st.tuples(st.just("arrive"), st.lists(st.tuples(users, st.integers(0, 25)), min_size=1, max_size=10)),
    st.tuples(st.just("erase"), st.tuples(users, st.integers(0, 25))),
    st.tuples(st.just("rotate"), lengths),
    st.tuples(st.just("pass"), st.integers(1, 15)),
)
histories = st.lists(steps, min_size=6, max_size=14)


def live_through(folder: Folder, history: list[tuple[str, Any]]) -> tuple[list[Event], list[Event]]:
    """What arrived and what was erased, days counted back from the day on which it happened."""
    activity: list[Event] = []
    erased: list[Event] = []
    for kind, detail in history:
        today = folder.today
        if kind == "arrive":
            events = [(user, today - timedelta(days=back)) for user, back in detail]
            activity += events
            folder.arrive(events)
        elif kind == "erase":
            erased.append((detail[0], today - timedelta(days=detail[1])))
            folder.erase(*erased[-1])
        elif kind == "rotate":
            folder.rotate(detail)
        else:
            folder.pass_to(today + timedelta(days=detail))
    return activity, erased


def check_history(history: list[tuple[str, Any]], *, rotation_days: int, sketch_impl: str) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        chosen = {
            "hash_salt_rotation_days": rotation_days,
            "mau_window_days": WINDOW,
            "sketch_impl": sketch_impl,
            "series_start": FIRST,
        }
        seen = []
        for rotates in (False, True):
            folder = Folder(Path(place) / str(rotates), rotates=rotates, **chosen)
            activity, erased = live_through(folder, history)
            last = folder.today + timedelta(days=WINDOW)
            folder.pass_to(last + timedelta(days=2))
            whole = DayRange(FIRST - timedelta(days=30), last)
            workspace = folder.open()
            counts = snapshot_counts(workspace, whole, ["dau", "wau", "mau"])
            released = [[counts.below(metric, day) for metric in ("dau", "wau", "mau")] for day in whole]
            trusted = count_trusted(workspace, whole.first, whole.last)
            workspace.close()
            expected = naive_counts(activity, erased, whole, mau_window_days=WINDOW)
            assert trusted == expected
            assert released == [[row[metric] for metric in ("dau", "wau", "mau")] for row in expected]
            seen.append(trusted)
        assert seen[0] == seen[1]


def check_with_retention(history: list[tuple[str, Any]], *, rotation_days: int, sketch_impl: str) -> None:
    """Lives through `history` with rotations and the least retention: windows that are held count as by definition."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        folder = Folder(
            Path(place) / "kept",
            rotates=True,
            hash_salt_rotation_days=rotation_days,
            mau_window_days=WINDOW,
            sketch_impl=sketch_impl,
            series_start=FIRST,
            retention_days=WINDOW + 31,
        )
        activity, erased = live_through(folder, history)
        folder.pass_to(folder.today + timedelta(days=40))
        workspace = folder.open()
        held_from = apply_retention(workspace).held_from
        assert held_from is not None
        held = DayRange(held_from + timedelta(days=WINDOW - 1), folder.today - timedelta(days=2))
        expected = naive_counts(activity, erased, held, mau_window_days=WINDOW)
        assert count_trusted(workspace, held.first, held.last) == expected
        assert [finding.message for finding in verify(workspace).findings] == []
        lowest = workspace.salts.lowest_epoch
        assert workspace.salts.calendar.keyed_days(lowest, WINDOW).last >= held_from
        assert lowest == 0 or workspace.salts.calendar.keyed_days(lowest - 1, WINDOW).last < held_from
        workspace.close()


class TestThroughTheFolder:
    @settings(max_examples=2, **QUIET)
    @given(history=histories, rotation_days=st.sampled_from([5, 90]), sketch_impl=st.sampled_from(["set", "kmv"]))
    @pytest.mark.slow
    def test_counts_with_and_without_rotations_are_equal(
        self, history: list[tuple[str, Any]], rotation_days: int, sketch_impl: str
    ) -> None:
        """Sources, late data, erasures and rotations in any order: trusted and releasable counts are the naive ones."""
        check_history([*history, ("rotate", 3), *history], rotation_days=rotation_days, sketch_impl=sketch_impl)

    @settings(max_examples=2, **QUIET)
    @given(history=histories, rotation_days=st.sampled_from([5, 90]), sketch_impl=st.sampled_from(["set", "kmv"]))
    @pytest.mark.slow
    def test_held_windows_count_the_same_with_retention(
        self, history: list[tuple[str, Any]], rotation_days: int, sketch_impl: str
    ) -> None:
        """Days dropped, epochs destroyed, rotations, late data, erasures: held windows are exact, and all verifies."""
        check_with_retention([*history, ("rotate", 3), *history], rotation_days=rotation_days, sketch_impl=sketch_impl)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("rotation_days", [1, 7, 90])
    @settings(max_examples=40, **{**QUIET, "derandomize": False})
    @given(history=histories, sketch_impl=st.sampled_from(["set", "kmv"]))
    def test_many_histories_with_retention(
        self, rotation_days: int, history: list[tuple[str, Any]], sketch_impl: str
    ) -> None:
        """The same for many more histories."""
        check_with_retention([*history, ("rotate", 3), *history], rotation_days=rotation_days, sketch_impl=sketch_impl)

    @pytest.mark.slow
    @pytest.mark.timeout(3600)
    @pytest.mark.parametrize("rotation_days", [1, 5, 7, 90])
    @settings(max_examples=60, **{**QUIET, "derandomize": False})
    @given(history=histories, sketch_impl=st.sampled_from(["set", "kmv"]))
    def test_counts_of_many_histories(
        self, rotation_days: int, history: list[tuple[str, Any]], sketch_impl: str
    ) -> None:
        """The same for many more histories."""
        check_history([*history, ("rotate", 3), *history], rotation_days=rotation_days, sketch_impl=sketch_impl)
