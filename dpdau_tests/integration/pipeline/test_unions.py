"""Unions and the snapshot: what windows hold equals a union made directly, whatever was built before."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.windows import window_of
from dpdau_assets.errors import InternalError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.mau_unions import read_unions
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.naive import live_users
from dpdau_tests.support.workspaces import (
    LONG_AFTER,
    Event,
    digests,
    files_holding,
    key_files,
    new_workspace,
    stage_activity,
)

FIRST = date(2026, 2, 25)  # an epoch begins on 2026-03-08
DAYS = DayRange(FIRST, FIRST + timedelta(days=24))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(80)
    for offset in range(25)
    if (number * 3 + offset * 5) % 7 < 2
]
K = 16


def reopened(workspace: Workspace, **settings: object) -> Workspace:
    """The same folder under other settings."""
    workspace.close()
    changed = workspace.settings.model_dump() | settings
    return open_workspace(type(workspace.settings)(**changed), clock=workspace.clock)


def direct_sketch(workspace: Workspace, users: set[str], first_day: date, k: int) -> KmvSketch:
    epoch = workspace.salts.calendar.window_epoch(first_day)
    keys = user_keys(workspace.salts.epoch_key(epoch), sorted(user.encode() for user in users))
    return KmvSketch.from_keys(np.unique(keys), k=k)


class TestKmvUnions:
    def test_equal_the_sketch_of_the_window(self, tmp_path: Path) -> None:
        """Each stored union is the bottom-k of all users of its window, also where every day is saturated."""
        workspace = new_workspace(tmp_path / "data", sketch_k=K)
        stage_activity(workspace, EVENTS)
        request_erasure(workspace, [b"user-1", b"user-9"], through=FIRST + timedelta(days=12), now=LONG_AFTER)
        bring_up_to_date(workspace, DAYS)
        erased = [(name, FIRST + timedelta(days=12)) for name in ("user-1", "user-9")]
        live = live_users(EVENTS, erased)
        with lake_session(workspace, DAYS) as session:
            for day in DAYS:
                for length, union in read_unions(session, day).items():
                    window = window_of("wau" if length == 7 else "mau", day, mau_window_days=30)
                    users = set().union(*(live.get(item, set()) for item in window))
                    assert union.window == window
                    assert union.sketch == direct_sketch(workspace, users, window.first, K)
                    assert union.sketch is not None
                    assert not union.sketch.complete

    def test_counts_below_a_threshold(self, tmp_path: Path) -> None:
        """The count behind a kmv release is min(k, users below the threshold) for every metric."""
        workspace = new_workspace(tmp_path / "data", sketch_k=K)
        stage_activity(workspace, EVENTS)
        counts = snapshot_counts(workspace, [DAYS.last], METRICS)
        live = live_users(EVENTS, [])
        for metric in METRICS:
            window = window_of(metric, DAYS.last, mau_window_days=30)
            users = set().union(*(live.get(item, set()) for item in window))
            epoch_key = workspace.salts.epoch_key(workspace.salts.calendar.window_epoch(window.first))
            keys = user_keys(epoch_key, [user.encode() for user in users])
            for threshold in (2**58, 2**61, 2**63, 2**64):
                below = sum(int(key) < threshold for key in keys)
                assert counts.below(metric, DAYS.last, threshold) == min(K, below)

    def test_another_k_builds_other_sketches(self, tmp_path: Path) -> None:
        """A changed SKETCH_K makes every sketch and union again, from the same live users."""
        workspace = new_workspace(tmp_path / "data", sketch_k=K)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        live = digests(workspace, "raw_events", "erasure_replay")
        wider = reopened(workspace, sketch_k=4 * K)
        bring_up_to_date(wider, DAYS)
        fresh = new_workspace(tmp_path / "fresh", sketch_k=4 * K)
        stage_activity(fresh, EVENTS)
        bring_up_to_date(fresh, DAYS)
        assert key_files(wider) == key_files(fresh)
        assert digests(wider, "raw_events", "erasure_replay") == live

    def test_changing_to_set_removes_the_sketches(self, tmp_path: Path) -> None:
        """With SKETCH_IMPL=set no sketch file stays behind that a later erasure would not reach."""
        workspace = new_workspace(tmp_path / "data", sketch_k=K)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        exact = reopened(workspace, sketch_impl="set")
        bring_up_to_date(exact, DAYS)
        assert not [name for name in key_files(exact) if name.startswith("lake/daily_sketches")]
        request_erasure(exact, [b"user-2"], through=DAYS.last, now=LONG_AFTER)
        bring_up_to_date(exact, DAYS)
        assert files_holding(exact, "user-2", first=DAYS.first, last=DAYS.last) == []


class TestSnapshot:
    @pytest.mark.parametrize("sketch_impl", ["set", pytest.param("kmv", marks=pytest.mark.slow)])
    @pytest.mark.slow
    def test_what_was_built_before_does_not_matter(self, tmp_path: Path, sketch_impl: str) -> None:
        """Counts are the same whether everything was built, half of it, or nothing, with the same log."""
        found = []
        late: list[Event] = [(f"late-{number}", FIRST + timedelta(days=number % 20)) for number in range(40)]
        for built in (None, DayRange(FIRST, FIRST + timedelta(days=9)), DAYS):
            workspace = new_workspace(tmp_path / f"data-{len(found)}", sketch_impl=sketch_impl, sketch_k=64)
            stage_activity(workspace, EVENTS)
            if built is not None:
                bring_up_to_date(workspace, built)
            stage_activity(workspace, late)
            request_erasure(workspace, [b"user-4"], through=DAYS.last, now=LONG_AFTER)
            if built == DAYS:
                bring_up_to_date(workspace, DayRange.single(DAYS.last))
            counts = snapshot_counts(workspace, DAYS, METRICS)
            found.append([counts.below(metric, day) for metric in METRICS for day in DAYS])
        assert found[0] == found[1] == found[2]

    def test_distant_days_are_counted_without_building_what_lies_between(self, tmp_path: Path) -> None:
        """Days years apart are brought up to date each with its own window."""
        workspace = new_workspace(tmp_path / "data", sketch_impl="set")
        far = FIRST + timedelta(days=1000)
        stage_activity(workspace, [("a", FIRST), ("b", FIRST), ("a", far)])
        counts = snapshot_counts(workspace, [far, FIRST], METRICS)
        assert [counts.below("mau", day) for day in (FIRST, far)] == [2, 1]
        with lake_session(workspace, None) as session:
            assert len(session.known_days("raw_events", session.days)) == 60

    def test_an_open_day_is_not_counted(self, tmp_path: Path) -> None:
        """Counting a day that is still open for a release is refused, instead of counting what is folded of it."""
        workspace = new_workspace(tmp_path / "data")
        with pytest.raises(InternalError, match="still open"):
            snapshot_counts(workspace, [LONG_AFTER.date()], METRICS)

    def test_only_what_was_asked_for_is_known(self, tmp_path: Path) -> None:
        """A metric or day that was not counted is an internal error, never a silent zero."""
        workspace = new_workspace(tmp_path / "data")
        stage_activity(workspace, EVENTS)
        counts = snapshot_counts(workspace, [DAYS.last], ["dau"])
        with pytest.raises(InternalError):
            counts.below("mau", DAYS.last)
        assert counts.below("dau", DAYS.last) == count_trusted(workspace, DAYS.last, DAYS.last)[0]["dau"]
