"""Sketches of every kind through the pipeline: stored, united, rebuilt after erasures, released at their price."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.release.release import next_threshold
from dpdau_assets.core.sketches.murmur import theta_hashes
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.windows import window_of
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.monitor.quality import sketch_accuracy
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.mau_unions import read_unions
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.naive import live_users
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, charges_of, everybody, open_folder
from dpdau_tests.support.sketches import KINDS
from dpdau_tests.support.workspaces import (
    LONG_AFTER,
    Event,
    digests,
    files_holding,
    key_files,
    new_workspace,
    stage_activity,
)

pytestmark = [pytest.mark.untraced, pytest.mark.one_is_enough]

FIRST = date(2026, 2, 25)  # an epoch begins on 2026-03-08
DAYS = DayRange(FIRST, FIRST + timedelta(days=24))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(80)
    for offset in range(25)
    if (number * 3 + offset * 5) % 7 < 2
]
M = 16
HLL: dict[str, Any] = {"sketch_impl": "hll", "sketch_k": M}
THETA: dict[str, Any] = {"sketch_impl": "theta", "sketch_k": 16, "expected_users": 70}
BOTH = [pytest.param(HLL, id="hll"), pytest.param(THETA, id="theta", marks=pytest.mark.requires_theta)]
RELEASED = [
    pytest.param({"sketch_impl": "kmv", "sketch_k": 4096}, id="kmv"),
    pytest.param({"sketch_impl": "hll", "sketch_k": 4096}, id="hll"),
    pytest.param({"sketch_impl": "theta", "sketch_k": 4096}, id="theta, all", marks=pytest.mark.requires_theta),
    pytest.param(
        {"sketch_impl": "theta", "sketch_k": 2048, "expected_users": 9000},
        id="theta, sampled",
        marks=pytest.mark.requires_theta,
    ),
]


def keys_of(workspace: Workspace, users: set[str], first_day: date) -> list[int]:
    """The pseudonyms that a window from `first_day` counts its users under."""
    epoch = workspace.salts.calendar.window_epoch(first_day)
    return [int(key) for key in user_keys(workspace.salts.epoch_key(epoch), [user.encode() for user in users])]


@pytest.mark.parametrize("settings", BOTH)
class TestPartitions:
    def test_unions_equal_the_sketch_of_the_window(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """Every stored union is the sketch of all live users of its window, across an epoch and after an erasure."""
        workspace = new_workspace(tmp_path / "data", **settings)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        request_erasure(workspace, [b"user-1", b"user-9"], through=FIRST + timedelta(days=12), now=LONG_AFTER)
        bring_up_to_date(workspace, DAYS)
        live = live_users(EVENTS, [(name, FIRST + timedelta(days=12)) for name in ("user-1", "user-9")])
        plan = sketch_plan(workspace.settings)
        with lake_session(workspace, DAYS) as session:
            for day in DAYS:
                for length, union in read_unions(session, day).items():
                    window = window_of("wau" if length == 7 else "mau", day, mau_window_days=30)
                    users = set().union(*(live.get(item, set()) for item in window))
                    keys = np.unique(np.array(keys_of(workspace, users, window.first), dtype=np.uint64))
                    assert union.window == window
                    assert union.sketch == plan.from_keys(keys)

    def test_counts_are_those_of_a_plain_set(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """The count behind a release is the one worked out user by user, for every metric and threshold."""
        workspace = new_workspace(tmp_path / "data", **settings)
        stage_activity(workspace, EVENTS)
        counts = snapshot_counts(workspace, [DAYS.last], METRICS)
        live, kind = live_users(EVENTS, []), KINDS[settings["sketch_impl"]]
        largest = sketch_plan(workspace.settings).fixed_threshold or KEY_SPACE
        for metric in METRICS:
            window = window_of(metric, DAYS.last, mau_window_days=30)
            users = set().union(*(live.get(item, set()) for item in window))
            for bits in (0, 1, 2, 5):
                expected = kind.count(keys_of(workspace, users, window.first), M, largest >> bits)
                assert counts.below(metric, DAYS.last, largest >> bits) == expected

    def test_after_an_erasure_every_file_is_as_if_the_user_never_was(
        self, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        """Erasing gives, byte for byte, the files of a folder that never held the user; no file keeps a trace."""
        workspace = new_workspace(tmp_path / "data", **settings)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        request_erasure(workspace, [b"user-3"], through=DAYS.last, now=LONG_AFTER)
        bring_up_to_date(workspace, DAYS)
        never = new_workspace(tmp_path / "never", **settings)
        stage_activity(never, [event for event in EVENTS if event[0] != "user-3"])
        bring_up_to_date(never, DAYS)
        assert key_files(workspace) == key_files(never)
        assert files_holding(workspace, "user-3", first=DAYS.first, last=DAYS.last) == []
        epochs = {workspace.salts.calendar.window_epoch(day - timedelta(days=29)) for day in DAYS}
        epochs |= {workspace.salts.calendar.epoch_of(day) for day in DAYS}
        hashes = [theta_hashes(user_keys(workspace.salts.epoch_key(epoch), [b"user-3"])).tobytes() for epoch in epochs]
        assert not any(one in content for one in hashes for content in key_files(workspace).values())

    def test_an_erasure_of_one_day_leaves_the_other_days_as_they_are(
        self, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        """The days' sketches are a cache: only those of days on which the user was active are made again."""
        workspace = new_workspace(tmp_path / "data", **settings)
        stage_activity(workspace, [*EVENTS, ("guest", FIRST + timedelta(days=5))])
        bring_up_to_date(workspace, DAYS)
        before = digests(workspace, "daily_sketches")
        stored = {path: path.stat().st_ino for path in workspace.lake.root.glob("lake/daily_sketches/*/*.parquet")}
        request_erasure(workspace, [b"guest"], through=DAYS.last, now=LONG_AFTER)
        bring_up_to_date(workspace, DAYS)
        kept = {path for path, inode in stored.items() if path.stat().st_ino == inode}
        assert {path.parent.name for path in set(stored) - kept} <= {f"day={FIRST + timedelta(days=5)}"}
        after = digests(workspace, "daily_sketches")
        assert {day for (_, day), digest in before.items() if after["daily_sketches", day] != digest} <= {
            FIRST + timedelta(days=5)
        }

    def test_what_was_built_before_does_not_matter(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """Counts of the snapshot are the same whether half of the days was built or nothing."""
        late: list[Event] = [(f"late-{number}", FIRST + timedelta(days=number % 20)) for number in range(40)]
        found = []
        for built in (None, DayRange(FIRST, FIRST + timedelta(days=9))):
            workspace = new_workspace(tmp_path / f"data-{len(found)}", **settings)
            stage_activity(workspace, EVENTS)
            if built is not None:
                bring_up_to_date(workspace, built)
            stage_activity(workspace, late)
            request_erasure(workspace, [b"user-5", b"late-3"], through=FIRST + timedelta(days=9), now=LONG_AFTER)
            threshold = sketch_plan(workspace.settings).fixed_threshold or KEY_SPACE
            counts = snapshot_counts(workspace, [DAYS.last], METRICS)
            found.append([counts.below(metric, DAYS.last, threshold) for metric in METRICS])
        assert found[0] == found[1]

    def test_another_size_builds_other_sketches(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """A changed SKETCH_K gives the files of a folder that had it from the start."""
        found = []
        for sizes in ([16, 32], [32]):
            for size in sizes:
                workspace = new_workspace(tmp_path / f"data-{len(sizes)}", **{**settings, "sketch_k": size})
                if size == sizes[0]:
                    stage_activity(workspace, EVENTS)
                bring_up_to_date(workspace, DAYS)
                workspace.close()
            found.append(key_files(workspace))
        assert found[0] == found[1]

    def test_the_check_accepts_them_and_no_others(
        self, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The asset check finds no sketch further off than sampling explains, until one says ten times too much."""
        workspace = new_workspace(tmp_path / "data", **settings)
        stage_activity(workspace, [(f"user-{number}", FIRST) for number in range(900)])
        bring_up_to_date(workspace, DAYS)
        accuracy = sketch_accuracy(workspace, DAYS)
        assert accuracy.worst_error <= accuracy.bound
        sketch = type(sketch_plan(workspace.settings).from_keys(np.array([], np.uint64)))
        right = sketch.estimate
        monkeypatch.setattr(sketch, "estimate", lambda self: 10 * right(self))
        accuracy = sketch_accuracy(workspace, DAYS)
        assert accuracy.worst_error > accuracy.bound > 0


class TestNeighbours:
    @pytest.mark.parametrize(
        "settings",
        [
            pytest.param({"sketch_impl": "kmv", "sketch_k": 32}, id="kmv"),
            pytest.param({"sketch_impl": "hll", "sketch_k": 128}, id="hll"),
            pytest.param(THETA, id="theta", marks=pytest.mark.requires_theta),
        ],
    )
    def test_one_user_changes_every_count_by_0_or_1(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        """With others' late events and erasures pending, a folder without one user counts the same or one less."""
        last = FIRST + timedelta(days=13)  # windows on both sides of the epoch's first day
        thresholds = (2**61, 2**62, 2**63, KEY_SPACE)

        def counted(left_out: str) -> np.ndarray[Any, Any]:
            workspace = new_workspace(tmp_path / (left_out or "all"), **settings)
            events = [event for event in EVENTS if event[1] <= last and event[0] != left_out]
            stage_activity(workspace, events)
            bring_up_to_date(workspace, DayRange(FIRST, FIRST + timedelta(days=6)))
            stage_activity(workspace, [(f"late-{number}", FIRST + timedelta(days=number)) for number in range(12)])
            request_erasure(workspace, [b"user-7", b"user-8"], through=FIRST + timedelta(days=5), now=LONG_AFTER)
            days = [FIRST + timedelta(days=9), last]
            counts = snapshot_counts(workspace, days, METRICS)
            largest = sketch_plan(workspace.settings).fixed_threshold or KEY_SPACE
            return np.array(
                [
                    counts.below(metric, day, min(one, largest))
                    for metric in METRICS
                    for day in days
                    for one in thresholds
                ]
            )

        whole = counted("")
        changes = [whole - counted(user) for user in ("user-2", "user-3", "user-12")]
        assert all(((change == 0) | (change == 1)).all() for change in changes)
        assert any(change.any() for change in changes)


@pytest.mark.parametrize("mechanism", ["gaussian", "laplace", "correlated"])
@pytest.mark.parametrize("settings", RELEASED)
class TestReleases:
    @pytest.mark.one_is_enough
    def test_are_made_near_the_truth_at_their_price(
        self, tmp_path: Path, settings: dict[str, Any], mechanism: str
    ) -> None:
        """Two days of 6,500 users are released within the interval's reach; the search is charged where one is made.

        6,500 lies between the levels: a quarter is well below half of k, a half is well below k, so that
        whichever level a search ends at, no sketch is full.
        """
        workspace = open_folder(tmp_path, mechanism=mechanism, **settings)
        add_activity(workspace, everybody(6500, days=2))
        results = publish_releases(workspace, ("dau", "mau"), DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=1))).results
        assert len(results) == 4
        for result in results:
            error = (result.sampling_stddev**2 + result.noise_stddev**2) ** 0.5
            assert abs(result.estimate - 6500) < 6 * error + 1
            assert result.upper_95 is not None
            assert result.lower_95 <= result.estimate <= result.upper_95
            assert (result.sketch_impl, result.mechanism) == (settings["sketch_impl"], mechanism)
        kinds = [kind for _, _, kind in charges_of(workspace)]
        assert kinds.count("release") == 4
        is_searched = settings["sketch_impl"] in ("kmv", "hll")
        assert kinds.count("threshold") == 2 * is_searched
        with workspace.ledger.read() as connection:
            charged = dict(accounts.events_of_metric(connection, "dau", "2025-01"))
        assert charged.get(ABOVE_THRESHOLD_EVENT, 0) == is_searched
        later = [result for result in results if result.metric == "dau"]
        plan = sketch_plan(workspace.settings)
        if plan.fixed_threshold is not None:
            assert {result.threshold for result in results} == {plan.fixed_threshold}
        else:
            assert later[1].threshold == next_threshold(later[0], k=4096, impl=plan.impl)


class TestSwitches:
    def test_from_kmv_to_hll_costs_no_search(self, tmp_path: Path) -> None:
        """The last release of one kind gives the first threshold of the other, rounded to a level."""
        kmv = open_folder(tmp_path, sketch_impl="kmv", sketch_k=4096, expected_users=9000)
        add_activity(kmv, everybody(9000, days=2))
        first = publish_releases(kmv, ("dau",), DayRange.single(NEW_YEAR)).results[0]
        kmv.close()
        hll = open_folder(tmp_path, sketch_impl="hll", sketch_k=4096)
        second = publish_releases(hll, ("dau",), DayRange.single(NEW_YEAR + timedelta(days=1))).results[0]
        assert second.threshold == next_threshold(first, k=4096, impl="hll")
        assert abs(second.estimate - 9000) < 6 * second.sampling_stddev + 6 * second.noise_stddev
        assert [kind for _, _, kind in charges_of(hll)] == ["opening", "release", "release"]
