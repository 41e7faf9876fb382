"""Exact counts for the trusted side."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import Event, new_workspace, stage_activity

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
LAST = NOW.date()
DAYS = DayRange(LAST - timedelta(days=5), LAST)
EVENTS: list[Event] = [
    (f"user-{number}", date(2026, 3, 1) + timedelta(days=offset))
    for number in range(12)
    for offset in range(15)
    if (number * 3 + offset * 5) % 7 < 2
]


class TestCountTrusted:
    def test_counts_are_those_of_the_definition(self, tmp_path: Path) -> None:
        """Day, week and month of each day, whatever the sketch; the open day counts as far as it is staged."""
        workspace = new_workspace(tmp_path / "data", now=NOW, mau_window_days=10, sketch_impl="kmv", sketch_k=16)
        stage_activity(workspace, EVENTS)
        assert count_trusted(workspace, DAYS.first, LAST) == naive_counts(EVENTS, [], DAYS, mau_window_days=10)
        through = LAST - timedelta(days=4)
        request_erasure(workspace, [b"user-3"], through=through, now=NOW)
        assert count_trusted(workspace, DAYS.first, LAST) == naive_counts(
            EVENTS, [("user-3", through)], DAYS, mau_window_days=10
        )
