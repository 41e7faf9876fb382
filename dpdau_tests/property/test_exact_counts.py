"""Whatever arrives in whatever order, folded and erased in whatever steps: the counts are those of the definition."""

from __future__ import annotations

import tempfile
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
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.recover.rebuild import rebuild
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import LONG_AFTER, Event, digests, new_workspace, stage_activity

FIRST = date(2026, 1, 1)
SPAN = 45
WINDOW = 12  # short, so that few days hold many windows
ALL_DAYS = DayRange(FIRST, FIRST + timedelta(days=SPAN + WINDOW))

Step = tuple[str, Any]
days = st.integers(0, SPAN - 1).map(lambda offset: FIRST + timedelta(days=offset))
users = st.integers(0, 5).map(lambda number: f"ü{number}")
arrivals = st.tuples(st.just("arrive"), st.lists(st.tuples(users, days), min_size=1, max_size=12))
erasures = st.tuples(st.just("erase"), st.tuples(users, days))
steps = st.tuples(
    st.sampled_from(["fold", "replay", "build", "flush", "rebuild", "count"]), st.tuples(days, st.integers(0, 20))
)
histories = st.lists(st.one_of(arrivals, arrivals, erasures, steps), min_size=1, max_size=14)


QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # thousands of fsyncs, no power cut: nothing to wait for


@pytest.mark.parametrize("rotation_days", [1, 5, 7, 30, 90])
@settings(max_examples=2, **QUIET)
@given(history=histories, sketch_impl=st.sampled_from(["set", "kmv"]))
@pytest.mark.one_is_enough
def test_counts_of_any_history(rotation_days: int, sketch_impl: str, history: list[Step]) -> None:
    """Events, erasures and late arrivals in any order, in any steps: every window of every day has the naive count.

    The trusted counts and the counts a release would be made from agree with it, and what is stored is the same as
    when everything arrives at once.
    """
    check_history(history, rotation_days=rotation_days, sketch_impl=sketch_impl)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("sketch_impl", ["set", "kmv"])
@pytest.mark.parametrize("rotation_days", [1, 5, 7, 30, 90])
@settings(max_examples=100, **{**QUIET, "derandomize": False})
@given(history=histories)
def test_counts_of_many_histories(rotation_days: int, sketch_impl: str, history: list[Step]) -> None:
    """The same for many more histories."""
    check_history(history, rotation_days=rotation_days, sketch_impl=sketch_impl)


def check_history(history: list[Step], *, rotation_days: int, sketch_impl: str) -> None:
    """Lives through `history` in a new data folder and compares with the definition."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        chosen = {
            "hash_salt_rotation_days": rotation_days,
            "mau_window_days": WINDOW,
            "sketch_impl": sketch_impl,
            "series_start": FIRST,
        }
        workspace = new_workspace(Path(folder) / "stepwise", **chosen)
        activity: list[Event] = []
        erased: list[Event] = []
        for kind, detail in history:
            if kind == "arrive":
                activity.extend(detail)
                stage_activity(workspace, detail)
            elif kind == "erase":
                erased.append(detail)
                request_erasure(workspace, [detail[0].encode()], through=detail[1], now=LONG_AFTER)
            else:
                span = DayRange(detail[0], detail[0] + timedelta(days=detail[1]))
                if kind == "flush":
                    flush_deletes(workspace)
                elif kind == "count":
                    rows = count_trusted(workspace, span.first, span.last)
                    assert rows == naive_counts(activity, erased, span, mau_window_days=WINDOW)
                else:
                    step = {"fold": fold, "replay": replay_erasures, "build": bring_up_to_date, "rebuild": rebuild}
                    step[kind](workspace, span)
        expected = naive_counts(activity, erased, ALL_DAYS, mau_window_days=WINDOW)
        counts = snapshot_counts(workspace, ALL_DAYS, ["dau", "wau", "mau"])
        assert [
            {"day": day.isoformat()} | {metric: counts.below(metric, day) for metric in ("dau", "wau", "mau")}
            for day in ALL_DAYS
        ] == expected
        assert count_trusted(workspace, ALL_DAYS.first, ALL_DAYS.last) == expected
        at_once = new_workspace(Path(folder) / "at-once", **chosen)
        if activity:
            stage_activity(at_once, activity)
        for user, through in erased:
            request_erasure(at_once, [user.encode()], through=through, now=LONG_AFTER)
        bring_up_to_date(at_once, ALL_DAYS)
        assert digests(workspace) == digests(at_once)
        workspace.close()
        at_once.close()
