"""Unions: the distinct users of the windows that end on a day."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.mau_unions import build_unions, read_unions
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import LONG_AFTER, Event, new_workspace, stage_activity

WINDOW = 10
FIRST = date(2026, 3, 1)  # an epoch begins on 2026-03-08
DAYS = DayRange(FIRST + timedelta(days=9), FIRST + timedelta(days=14))
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(12)
    for offset in range(15)
    if (number * 3 + offset * 5) % 7 < 2
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with staged activity of 15 days, whose sketches are exact."""
    workspace = new_workspace(tmp_path / "data", sketch_impl="set", mau_window_days=WINDOW)
    stage_activity(workspace, EVENTS)
    return workspace


def stored_counts(workspace: Workspace) -> list[tuple[int | None, int | None]]:
    """The stored users of the week and of the month that end on each day."""
    found = []
    with lake_session(workspace, DAYS) as session:
        for day in DAYS:
            unions = read_unions(session, day)
            assert all(union.window.last == day and len(union.window) == length for length, union in unions.items())
            found.append((unions[7].users, unions[WINDOW].users))
    return found


def expected(erased: list[Event]) -> list[tuple[object, object]]:
    counts = naive_counts(EVENTS, erased, DAYS, mau_window_days=WINDOW)
    return [(row["wau"], row["mau"]) for row in counts]


class TestBuildUnions:
    def test_a_row_holds_the_users_of_its_window(self, workspace: Workspace) -> None:
        """Every window has the count of the definition, across an epoch's end too; a repeat changes no day."""
        assert build_unions(workspace, DAYS) == set(DAYS)
        assert stored_counts(workspace) == expected([])
        assert build_unions(workspace, DAYS) == set()

    def test_after_an_erasure_a_row_holds_who_is_left(self, workspace: Workspace) -> None:
        """A user erased through a day still counts in windows that hold a later day of theirs."""
        build_unions(workspace, DAYS)
        through = FIRST + timedelta(days=8)
        request_erasure(workspace, [b"user-3"], through=through, now=LONG_AFTER)
        changed = build_unions(workspace, DAYS)
        assert stored_counts(workspace) == expected([("user-3", through)])
        assert changed <= set(DAYS)
