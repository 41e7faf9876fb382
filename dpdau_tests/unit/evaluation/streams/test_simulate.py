"""Independent users: the stated chances and nothing else."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from dpdau_assets.evaluation.streams.simulate import SimulatedStream

FIRST = date(2026, 1, 5)
STREAM = SimulatedStream(seed=7, users=5_000, p_active=0.18, delete_rate=0.02)
DAYS = [FIRST + timedelta(days=offset) for offset in range(45)]


class TestSimulatedStream:
    def test_a_day_depends_on_seed_and_day_only(self) -> None:
        """The same numbers give the same events, another seed or day others."""
        again = SimulatedStream(seed=7, users=5_000, p_active=0.18, delete_rate=0.02)
        assert again.lines(DAYS[9]) == STREAM.lines(DAYS[9]) != STREAM.lines(DAYS[10])
        assert SimulatedStream(8, 5_000, 0.18).lines(FIRST) != SimulatedStream(7, 5_000, 0.18).lines(FIRST)

    def test_users_are_active_and_erased_at_the_stated_rates(self) -> None:
        """Shares over 45 days lie within 4 standard errors of p_active and delete_rate."""
        active = sum(len(STREAM.active_users(day)) for day in DAYS)
        erased = sum(len(STREAM.erased_users(day)) for day in DAYS)
        assert active / (45 * 5_000) == pytest.approx(0.18, abs=4 * (0.18 * 0.82 / 225_000) ** 0.5)
        assert erased / active == pytest.approx(0.02, abs=4 * (0.02 * 0.98 / active) ** 0.5)
        assert all(np.isin(STREAM.erased_users(day), STREAM.active_users(day)).all() for day in DAYS)

    def test_days_are_independent(self) -> None:
        """Distinct users of a window are as many as independent days give, within 4 standard errors."""
        for length in (7, 30):
            seen = len(set(np.concatenate([STREAM.active_users(day) for day in DAYS[:length]]).tolist()))
            expected = STREAM.expected_users(length)
            assert seen == pytest.approx(expected, abs=4 * (expected * (1 - expected / 5_000)) ** 0.5 + 1)

    def test_lines_are_the_documented_json(self) -> None:
        """Each line holds user_id, day and op; erased users come after their own activity."""
        rows = [json.loads(line) for line in STREAM.lines(FIRST).splitlines()]
        assert {tuple(row) for row in rows} == {("user_id", "day", "op")}
        assert [row["op"] for row in rows] == sorted(row["op"] for row in rows)
        assert sum(row["op"] == "-" for row in rows) == len(STREAM.erased_users(FIRST)) > 0
