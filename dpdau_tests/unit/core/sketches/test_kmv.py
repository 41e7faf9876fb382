"""What only the bottom-k sketch promises: its invariant and the quality of its estimate."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import InternalError

KEYS = np.array([3, 5, 8], dtype=np.uint64)


class TestInvariant:
    @pytest.mark.parametrize(
        ("k", "complete"),
        [(0, True), (2, True), (2, False), (4, False)],
        ids=["no capacity", "too many keys", "too many keys, saturated", "saturated but not full"],
    )
    def test_states_that_no_set_leads_to_are_refused(self, k: int, complete: bool) -> None:
        """A sketch holds at most k keys, and exactly k when something was evicted."""
        with pytest.raises(InternalError):
            KmvSketch(KEYS, k=k, complete=complete)

    def test_keeps_no_reference_to_the_day_it_came_from(self) -> None:
        """A small sketch of a large day does not keep the day in memory, and a later change of it has no effect."""
        keys = np.arange(1000, dtype=np.uint64)
        sketch = KmvSketch.from_keys(keys, k=4)
        keys[0] = 999
        assert sketch == KmvSketch.from_keys(np.arange(1000, dtype=np.uint64), k=4)


class TestEstimate:
    def test_is_unbiased_with_the_stated_error(self) -> None:
        """The estimate has mean n and relative standard deviation 1 / sqrt(k - 2).

        400 seeded sets; thresholds 4 standard errors of the mean and 15 % (4 standard errors) of the deviation,
        false-alarm rate below 1 in 5,000. Keys crowded into 80 % of the key space miss both.
        """
        rng = np.random.default_rng(20251009)
        n, k, runs = 3000, 102, 400
        deviation = n / np.sqrt(k - 2)
        for space, fits in ((KEY_SPACE, True), (KEY_SPACE * 4 // 5, False)):
            estimates = np.empty(runs)
            for run in range(runs):
                keys = np.unique(rng.integers(0, space, size=n, dtype=np.uint64))
                estimates[run] = KmvSketch.from_keys(keys, k=k).estimate()
            mean_fits = abs(estimates.mean() - n) < 4 * deviation / np.sqrt(runs)
            deviation_fits = abs(estimates.std(ddof=1) / deviation - 1) < 0.15
            assert (mean_fits and deviation_fits) == fits

    def test_exact_value(self) -> None:
        """(k - 1) over the k-th smallest key as a fraction of the key space."""
        keys = np.array([1, 2, 2**62 - 1, 2**63], dtype=np.uint64)
        assert KmvSketch.from_keys(keys, k=3).estimate() == 8.0
