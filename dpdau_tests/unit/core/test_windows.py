"""Windows and the exact counts from words of days."""

from __future__ import annotations

import time
import tracemalloc
from datetime import date, timedelta

import numpy as np
import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.windows import Window, distinct_per_window, window_of
from dpdau_assets.errors import UsageError

D0 = date(2026, 1, 1)


def day(offset: int) -> date:
    """The day `offset` days after the first day of the words."""
    return D0 + timedelta(days=offset)


class TestWindowOf:
    def test_windows_end_on_the_day(self) -> None:
        """DAU is the day, WAU the 7 and MAU the N days up to it, both ends counted."""
        end = date(2026, 3, 1)
        assert window_of("dau", end, mau_window_days=30) == Window(end, end)
        assert window_of("wau", end, mau_window_days=30) == Window(date(2026, 2, 23), end)
        assert window_of("mau", end, mau_window_days=30) == Window(date(2026, 1, 31), end)
        assert len(window_of("mau", end, mau_window_days=28)) == 28


class TestDistinctPerWindow:
    @pytest.mark.parametrize("window_days", [1, 2, 7, 30, 63, 64])
    def test_one_bit_counts_in_the_windows_that_hold_its_day(self, window_days: int) -> None:
        """A single active day adds 1 to exactly the `window_days` windows from it on, across word borders too."""
        for bit in (0, 1, 62, 63, 64, 100, 127):
            bitmaps = np.zeros((1, 2), dtype=np.uint64)
            bitmaps[0, bit // 64] = np.uint64(1) << np.uint64(bit % 64)
            ends = DayRange(day(-70), day(260))
            counts = distinct_per_window(bitmaps, first_day=D0, ends=ends, window_days=window_days)
            active = [end for end, count in zip(ends, counts, strict=True) if count]
            assert active == [day(bit + n) for n in range(window_days)]
            assert counts.sum() == window_days

    @pytest.mark.parametrize("n_users", [0, 1, 254, 255, 256, 257, 765, 766, 767, 5000])
    def test_every_user_is_counted_whatever_their_number(self, n_users: int) -> None:
        """No user is lost or counted twice at the borders of the adders and blocks."""
        bitmaps = np.full((n_users, 1), 2**64 - 1, dtype=np.uint64)
        counts = distinct_per_window(bitmaps, first_day=D0, ends=DayRange(D0, day(63)), window_days=7)
        assert counts.dtype == np.int64
        assert counts.tolist() == [n_users] * 64

    def test_layout_in_memory_does_not_matter(self) -> None:
        """Column order, strides and read-only words give the same counts, and the words stay as they were."""
        rng = np.random.default_rng(20260101)
        bitmaps = rng.integers(0, 2**64, size=(3000, 3), dtype=np.uint64)
        expected = distinct_per_window(bitmaps, first_day=D0, ends=DayRange(D0, day(200)), window_days=3)
        wide = np.zeros((3000, 6), dtype=np.uint64)
        wide[:, ::2] = bitmaps
        read_only = bitmaps.copy()
        read_only.flags.writeable = False
        for same in (np.asfortranarray(bitmaps), wide[:, ::2], read_only, bitmaps[::-1]):
            counts = distinct_per_window(same, first_day=D0, ends=DayRange(D0, day(200)), window_days=3)
            assert counts.tolist() == expected.tolist()
            assert (same == bitmaps).all() or (same == bitmaps[::-1]).all()

    @pytest.mark.parametrize("window_days", [0, -1, 65])
    def test_windows_that_cannot_be_counted_are_refused(self, window_days: int) -> None:
        """Only 1 to 64 days."""
        with pytest.raises(UsageError):
            distinct_per_window(
                np.zeros((1, 1), np.uint64), first_day=D0, ends=DayRange.single(D0), window_days=window_days
            )

    def test_a_few_days_of_a_long_history_cost_a_few_words(self) -> None:
        """Counting one window reads the words it needs: memory does not grow with the history."""
        bitmaps = np.ones((2000, 300), dtype=np.uint64)
        tracemalloc.start()
        counts = distinct_per_window(bitmaps, first_day=D0, ends=DayRange.single(day(64 * 299 + 10)), window_days=30)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert counts.tolist() == [2000]
        assert peak < 2_000_000

    def test_temporary_memory_is_bounded_and_a_million_users_take_moments(self) -> None:
        """A million users and 60 windows need less than 32 MB beside the words and well under five seconds."""
        rng = np.random.default_rng(7)
        bitmaps = rng.integers(0, 2**64, size=(1_000_000, 2), dtype=np.uint64)
        tracemalloc.start()
        started = time.perf_counter()
        counts = distinct_per_window(bitmaps, first_day=D0, ends=DayRange(day(40), day(99)), window_days=30)
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (counts > 999_900).all()
        assert peak < 32_000_000
        assert seconds < 5
