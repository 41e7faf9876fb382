"""Erasures replayed in any order, any number of times, over any days, interrupted anywhere: the same bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes, replay_erasures
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import erasures
from dpdau_tests.support.crashes import Interrupted, Interruption
from dpdau_tests.support.naive import live_users
from dpdau_tests.support.workspaces import LONG_AFTER, Event, copy_of, digests, key_files, new_workspace, stage_activity

FIRST = date(2026, 3, 3)  # an epoch begins on 2026-03-08
LENGTH = 16
DAYS = DayRange(FIRST, FIRST + timedelta(days=LENGTH - 1))
WINDOW = 9
USERS = 8
EVENTS: list[Event] = [
    (f"user-{number}", FIRST + timedelta(days=offset))
    for number in range(USERS)
    for offset in range(LENGTH)
    if (number * 5 + offset * 3) % 7 < 3
]
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

Erasure = tuple[str, date]
Step = tuple[str, DayRange, int]
days = st.integers(0, LENGTH - 1).map(lambda offset: FIRST + timedelta(days=offset))
requests = st.lists(
    st.tuples(st.integers(0, USERS - 1).map(lambda number: f"user-{number}"), days), min_size=1, max_size=5, unique=True
)
spans = st.tuples(days, st.integers(0, LENGTH)).map(
    lambda span: DayRange(span[0], min(span[0] + timedelta(days=span[1]), DAYS.last))
)
steps = st.lists(
    st.tuples(st.sampled_from(["flush", "replay", "build", "rebuild"]), spans, st.integers(1, 90)), max_size=5
)
QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module", params=["set", "kmv"])
def built(request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A built folder; every example works on copies."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        workspace = new_workspace(Path(folder) / "data", sketch_impl=request.param, sketch_k=16, mau_window_days=WINDOW)
        stage_activity(workspace, EVENTS)
        bring_up_to_date(workspace, DAYS)
        yield workspace


@settings(max_examples=4, **QUIET)  # type: ignore[arg-type]
@given(chosen=requests, order=st.randoms(use_true_random=False), taken=st.lists(steps, min_size=5, max_size=5))
@pytest.mark.one_is_enough
def test_any_replay_ends_in_the_same_bytes(
    built: Workspace, chosen: list[Erasure], order: Any, taken: list[list[Step]]
) -> None:
    """One replay of all requests, and any other way to apply them, leave the same files and digests."""
    check_replays(built, chosen, order, taken)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=200, **{**QUIET, "derandomize": False})  # type: ignore[arg-type]
@given(chosen=requests, order=st.randoms(use_true_random=False), taken=st.lists(steps, min_size=5, max_size=5))
def test_many_replays_end_in_the_same_bytes(
    built: Workspace, chosen: list[Erasure], order: Any, taken: list[list[Step]]
) -> None:
    """The same for many more ways."""
    check_replays(built, chosen, order, taken)


def check_replays(built: Workspace, chosen: list[Erasure], order: Any, taken: list[list[Step]]) -> None:
    """Applies the requests at once, and in another order in interrupted steps; compares the two folders."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        at_once = copy_of(built, Path(folder) / "at-once")
        for user, through in chosen:
            erase(at_once, user, through)
        flush_deletes(at_once)
        stepwise = copy_of(built, Path(folder) / "stepwise")
        shuffled = list(chosen)
        order.shuffle(shuffled)
        for (user, through), some in zip([*shuffled, shuffled[0]], [*taken, []], strict=False):
            erase(stepwise, user, through)
            for step in some:
                take(stepwise, step)
        flush_deletes(stepwise)
        assert (key_files(stepwise), digests(stepwise)) == (key_files(at_once), digests(at_once))
        live = live_users(EVENTS, chosen)
        held = {day for asset, day in digests(stepwise, "raw_events") if asset == "raw_events"}
        assert held == {day for day, users in live.items() if users}
        with stepwise.ledger.read() as connection:
            assert erasures.pending(connection) == []
        stepwise.close()
        at_once.close()


def erase(workspace: Workspace, user: str, through: date) -> None:
    request_erasure(workspace, [user.encode()], through=through, now=LONG_AFTER)


def take(workspace: Workspace, step: Step) -> None:
    """One operation over a part of the days, which may be interrupted at the given step of the disk or the ledger."""
    kind, span, interrupted_at = step
    operations = {"replay": replay_erasures, "build": bring_up_to_date, "rebuild": rebuild}
    with suppress(Interrupted), Interruption(interrupted_at):
        if kind == "flush":
            flush_deletes(workspace)
        else:
            operations[kind](workspace, span)
