"""Releases asked for in any order: a refusal depends on no data, and a refused day is charged for nothing."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dpdau_assets.core.quantities import METRICS, DayRange, Metric
from dpdau_assets.errors import Refusal, UsageError
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import Report
from dpdau_assets.operations.verify.ledger import verify_ledger
from dpdau_tests.support.release_folders import NEW_YEAR, NOW, add_activity, charges_of, everybody, open_folder

QUIET: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate,),  # shrinking a failure would open hundreds of folders
}
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SPAN = 70
"""Days from New Year on that are asked for: three months, under caps that hold a few releases each."""
CAPS = {"total_budget_month": 2.6, "total_budget_365d": 3.5, "dau_budget_total": 1.0}

Request = tuple[tuple[Metric, ...], int, int, bool]
requests = st.lists(
    st.tuples(
        st.lists(st.sampled_from(METRICS), min_size=1, unique=True).map(tuple),
        st.integers(0, SPAN - 1),
        st.integers(0, 5),
        st.booleans(),
    ),
    max_size=5,
)


def ask(workspace: Workspace, request: Request) -> tuple[tuple[Refusal, ...], list[tuple[Metric, Any]]] | str:
    """What was refused and what was released; why, where the request made no sense."""
    metrics, offset, length, revise = request
    days = DayRange(NEW_YEAR + timedelta(days=offset), NEW_YEAR + timedelta(days=offset + length))
    try:
        published = publish_releases(workspace, metrics, days, revise=revise, reason="a drill" if revise else None)
    except UsageError as error:
        return error.message
    return published.refused, list(published.newly_released)


TOO_MUCH: Request = (METRICS, 40, 7, False)
"""Asked for at the end, more than February holds."""


@pytest.mark.parametrize(
    "terms",
    [{"mechanism": "laplace", "sketch_impl": "kmv", "sketch_k": 4096}, {"mechanism": "laplace"}, {}],
    ids=["sampled", "laplace", "correlated"],
)
@pytest.mark.one_is_enough
@settings(max_examples=3, **QUIET)
@given(asked=requests)
def test_a_refusal_depends_on_no_data(terms: dict[str, Any], asked: list[Request]) -> None:
    """An empty folder, and one with users, built days, late events and a pending erasure, refuse and charge alike."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        empty, full = (open_folder(Path(folder) / name, **terms, **CAPS) for name in ("empty", "full"))
        add_activity(full, everybody(40, days=20))
        bring_up_to_date(full, DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=9)))
        add_activity(full, {NEW_YEAR: ["late"]})
        request_erasure(full, [b"user-3"], through=NEW_YEAR + timedelta(days=5), now=NOW)
        for request in (*asked, TOO_MUCH):
            answer = ask(empty, request)
            assert ask(full, request) == answer
        assert answer[0]
        assert charges_of(full) == charges_of(empty)
        empty.close()
        full.close()


@settings(max_examples=5, **QUIET)
@given(asked=requests)
def test_a_refused_day_is_charged_for_nothing(asked: list[Request]) -> None:
    """Each new value is charged once, nothing else is; a refusal needs more than its cap, and no cap is exceeded."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        workspace = open_folder(Path(folder) / "data", mechanism="laplace", **CAPS)
        for request in (*asked, TOO_MUCH):
            before = charges_of(workspace)
            answer = ask(workspace, request)
            made = charges_of(workspace)[len(before) :]
            refused, released = answer if isinstance(answer, tuple) else ((), [])
            assert [(metric, day) for metric, day, _ in made] == released
            assert not {(one.metric, one.day) for one in refused} & set(released)
            for one in refused:
                assert one.epsilon_spent <= one.epsilon_cap < one.epsilon_needed
        book = BudgetBook(workspace.ledger, workspace.settings)
        for one in refused:
            assert book.refusal(one.metric, one.day, book.terms(one.metric, one.period).next_charge) is not None
        report = Report()
        verify_ledger(workspace, report, is_full=False)
        assert report.finish().ok
        workspace.close()
