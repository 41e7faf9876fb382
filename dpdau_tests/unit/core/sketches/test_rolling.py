"""Unions for many windows at once."""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce

import numpy as np
import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.rolling import union_per_window
from dpdau_assets.errors import UsageError

D0 = date(2026, 1, 1)


def sketches(*, n_days: int, missing: set[int]) -> dict[date, KmvSketch]:
    """A seeded sketch for every day that is not missing; some days are complete, some saturated."""
    rng = np.random.default_rng(3)
    made = {}
    for offset in range(n_days):
        keys = np.unique(rng.integers(0, 500, size=int(rng.integers(0, 60)), dtype=np.uint64))
        if offset not in missing:
            made[D0 + timedelta(days=offset)] = KmvSketch.from_keys(keys, k=40)
    return made


class TestUnionPerWindow:
    @pytest.mark.parametrize("window_days", [1, 2, 3, 7, 8, 30, 63])
    def test_equals_the_union_of_the_days_one_by_one(self, window_days: int) -> None:
        """Doubling gives for every window what joining its days in turn gives; a missing day adds nothing."""
        days = sketches(n_days=90, missing={5, 6, 40, *range(60, 71)})
        ends = DayRange(D0 - timedelta(days=3), D0 + timedelta(days=100))
        expected = {}
        for end in ends:
            window = DayRange(end - timedelta(days=window_days - 1), end)
            held = [days[day] for day in window if day in days]
            if held:
                expected[end] = reduce(KmvSketch.union, held)
        assert union_per_window(days, ends=ends, window_days=window_days) == expected

    def test_no_window_is_refused(self) -> None:
        """A window has at least one day."""
        with pytest.raises(UsageError):
            union_per_window({}, ends=DayRange.single(D0), window_days=0)
