"""Exact window counts beside a count with plain sets."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.windows import distinct_per_window

D0 = date(2025, 11, 20)


@st.composite
def activity(draw: st.DrawFn) -> tuple[int, list[set[int]]]:
    """A number of words, and for each user the set of active days within them."""
    n_words = draw(st.integers(1, 4))
    days = st.sets(st.integers(0, 64 * n_words - 1), max_size=12)
    return n_words, draw(st.lists(days, max_size=30))


class TestDistinctPerWindow:
    @settings(max_examples=80, deadline=None, derandomize=True)
    @given(activity(), st.integers(1, 64), st.integers(-80, 300), st.integers(1, 150))
    def test_equals_the_count_of_a_set(
        self, users: tuple[int, list[set[int]]], window_days: int, first_end: int, n_ends: int
    ) -> None:
        """For any users, window length up to 64 and range of ends, a window counts the users with a day in it."""
        n_words, active_days = users
        bitmaps = np.zeros((len(active_days), n_words), dtype=np.uint64)
        for row, days in enumerate(active_days):
            for day in days:
                bitmaps[row, day // 64] |= np.uint64(1) << np.uint64(day % 64)
        first = D0 + timedelta(days=first_end)
        ends = DayRange(first, first + timedelta(days=n_ends - 1))
        counts = distinct_per_window(bitmaps, first_day=D0, ends=ends, window_days=window_days)
        for end, count in enumerate(counts.tolist(), start=first_end):
            window = set(range(end - window_days + 1, end + 1))
            assert count == sum(not days.isdisjoint(window) for days in active_days)

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 64), st.integers(300, 3000), st.floats(0.001, 0.9))
    def test_equals_the_count_of_a_matrix(self, seed: int, window_days: int, n_users: int, p_active: float) -> None:
        """Enough users to pass through the adders: equal to a logical or over columns of a plain matrix."""
        rng = np.random.default_rng(seed)
        active = rng.random((n_users, 192)) < p_active
        bitmaps = np.packbits(active, axis=1, bitorder="little").view("<u8").astype(np.uint64)
        ends = DayRange(D0, D0 + timedelta(days=191))
        counts = distinct_per_window(bitmaps, first_day=D0, ends=ends, window_days=window_days)
        expected = [int(active[:, max(0, end - window_days + 1) : end + 1].any(axis=1).sum()) for end in range(192)]
        assert counts.tolist() == expected
