"""Counts continued from stored ones after an erasure: always those of counting everybody again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase import live_users
from dpdau_assets.operations.erase.live_users import replay_in_session
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline import mau_unions
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes, replay_erasures
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import LONG_AFTER, Event, copy_of, digests, key_files, new_workspace, stage_activity

pytestmark = [pytest.mark.untraced, pytest.mark.one_is_enough]

FIRST = date(2026, 3, 1)
DAYS = DayRange(FIRST, FIRST + timedelta(days=39))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(40)
    for offset in range(40)
    if (number * 7 + offset * 5) % 13 < 3
]


@pytest.fixture(scope="module", params=[90, 7])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built folder with epochs longer or shorter than the windows; tests work on copies."""
    folder = tmp_path_factory.mktemp("built") / "data"
    workspace = new_workspace(folder, sketch_impl="set", hash_salt_rotation_days=request.param)
    stage_activity(workspace, EVENTS)
    bring_up_to_date(workspace, DAYS)
    return workspace


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows were counted from all keys, call by call."""
    windows: list[int] = []
    original = mau_unions.count_windows

    def noting(chosen: Any, **named: Any) -> Any:
        held = list(chosen)
        windows.append(len(held))
        return original(held, **named)

    monkeypatch.setattr(mau_unions, "count_windows", noting)
    return windows


def erase(workspace: Workspace, users: Sequence[str], *, through: date = DAYS.last) -> None:
    request_erasure(workspace, [user.encode() for user in users], through=through, now=LONG_AFTER)


def assert_counts(workspace: Workspace, erased: Sequence[tuple[str, date]], *, events: Sequence[Event] = ()) -> None:
    """The stored unions are those of the definition."""
    everything = [*EVENTS, *events]
    expected = naive_counts(everything, erased, DAYS)
    with lake_session(workspace, DAYS) as session:
        stored = [mau_unions.read_unions(session, day) for day in DAYS]
    found = [
        {length: union.users for length, union in unions.items()} if unions else {7: 0, 30: 0} for unions in stored
    ]
    assert found == [{7: row["wau"], 30: row["mau"]} for row in expected]
    assert count_trusted(workspace, DAYS.first, DAYS.last) == expected


def assert_rebuilt_alike(workspace: Workspace) -> None:
    """Making everything again leaves every byte and digest as it is."""
    before = digests(workspace), key_files(workspace)
    rebuild(workspace, DAYS)
    assert (digests(workspace), key_files(workspace)) == before


class TestContinuedCounts:
    @pytest.mark.parametrize("through", [0, 20, 39])
    @pytest.mark.one_is_enough
    def test_one_user_is_subtracted_where_no_day_of_the_window_keeps_them(
        self, workspace: Workspace, counted: list[int], through: int
    ) -> None:
        """An erasure through any day changes each window as counting again would, and no window is counted again."""
        last = FIRST + timedelta(days=through)
        erase(workspace, ["user-3"], through=last)
        flush_deletes(workspace)
        assert sum(counted) == 0
        assert_counts(workspace, [("user-3", last)])

    @pytest.mark.one_is_enough
    def test_many_erasures_with_different_days(self, workspace: Workspace, counted: list[int]) -> None:
        """Users erased through different days, and one of them twice, are each subtracted on their own days."""
        erased = [(f"user-{number}", FIRST + timedelta(days=3 * number)) for number in range(12)]
        for user, through in erased:
            erase(workspace, [user], through=through)
        erase(workspace, ["user-1"], through=FIRST + timedelta(days=30))
        flush_deletes(workspace)
        assert sum(counted) == 0
        assert_counts(workspace, [*erased, ("user-1", FIRST + timedelta(days=30))])
        assert_rebuilt_alike(workspace)

    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_one_flush_after_another_continues_from_the_first(self, workspace: Workspace, counted: list[int]) -> None:
        """Counts that were continued once are continued again."""
        for number in range(4):
            erase(workspace, [f"user-{number}"])
            flush_deletes(workspace)
        assert sum(counted) == 0
        assert_counts(workspace, [(f"user-{number}", DAYS.last) for number in range(4)])

    def test_most_users_are_counted_again(self, workspace: Workspace, counted: list[int]) -> None:
        """Where more is removed than left, the rest is counted; the counts are right, zero included."""
        erase(workspace, [f"user-{number}" for number in range(39)])
        erase(workspace, ["user-39"], through=FIRST + timedelta(days=35))
        flush_deletes(workspace)
        assert sum(counted) > 0
        assert_counts(
            workspace,
            [*((f"user-{number}", DAYS.last) for number in range(39)), ("user-39", FIRST + timedelta(days=35))],
        )

    def test_days_that_also_gained_users_are_counted_again(self, workspace: Workspace, counted: list[int]) -> None:
        """Late activity and an erasure in one replay: the windows that the late day is in are counted from all keys."""
        late = (FIRST + timedelta(days=20),)
        events = [("late", day) for day in late]
        stage_activity(workspace, events)
        erase(workspace, ["user-3"])
        bring_up_to_date(workspace, DAYS)
        assert 0 < sum(counted) < 2 * len(DAYS)
        assert_counts(workspace, [("user-3", DAYS.last)], events=events)

    def test_a_replay_without_unions_in_between(self, workspace: Workspace, counted: list[int]) -> None:
        """Live users replayed in another session leave counts that are no longer of the files before: counted again."""
        erase(workspace, ["user-3"])
        replay_erasures(workspace, DAYS)
        flush_deletes(workspace)
        assert sum(counted) > 0
        assert_counts(workspace, [("user-3", DAYS.last)])

    def test_a_replay_that_died_after_raw_events(
        self, workspace: Workspace, counted: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was removed before a crash is not known after it: counted again."""
        erase(workspace, ["user-3"])

        def dying(session: LakeSession, days: DayRange, **named: Any) -> set[date]:
            replay_in_session(session, days, **named)
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("dpdau_assets.operations.pipeline.erasure_replay.replay_in_session", dying)
            with pytest.raises(KeyboardInterrupt):
                flush_deletes(workspace)
        flush_deletes(workspace)
        assert sum(counted) > 0
        assert_counts(workspace, [("user-3", DAYS.last)])


class TestAffectedFiles:
    def test_files_without_the_erased_are_not_read(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the key files only those that hold somebody erased are read."""
        read: list[Path] = []
        original = LakeSession.read

        def noting(session: LakeSession, path: Path, digest: str) -> Any:
            read.append(path)
            return original(session, path, digest)

        monkeypatch.setattr(LakeSession, "read", noting)
        erase(workspace, ["user-3"])
        flush_deletes(workspace)
        own_days = {day for user, day in EVENTS if user == "user-3"}
        calendar = workspace.salts.calendar
        expected = {
            workspace.lake.partition_path("raw_events", day, epoch=epoch)
            for day in own_days
            for epoch in calendar.keyed_epochs(day, 30)
        }
        assert len(read) == len(set(read))
        assert set(read) == expected

    @pytest.mark.slow
    def test_searching_and_reading_remove_the_same(
        self, built: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether a file is searched or read makes no difference to what is left of it."""
        states = []
        for is_searched in (True, False):
            workspace = copy_of(built, tmp_path / str(is_searched))
            monkeypatch.setattr(live_users, "is_worth_searching", lambda _path, _keys, answer=is_searched: answer)
            erase(workspace, ["user-3", "user-8"], through=FIRST + timedelta(days=25))
            flush_deletes(workspace)
            states.append((digests(workspace), key_files(workspace)))
        assert states[0] == states[1]
