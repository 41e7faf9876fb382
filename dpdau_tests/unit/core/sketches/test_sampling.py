"""Laws of core/sampling.py; simulated coverage of whole releases is in statistical/test_sketch_releases.py."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from dpdau_assets.core.sketches.hll import HLL_DEVIATION
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.sampling import Sampling

RUNS = 3000


def hit_buckets(users: int, *, buckets: int, theta: float, seed: int) -> np.ndarray:
    """Level counts of random sets, thrown user by user: float64[RUNS]."""
    rng = np.random.default_rng([users, buckets, seed])
    counts = np.empty(RUNS)
    for run in range(RUNS):
        kept = rng.binomial(users, theta)
        counts[run] = np.unique(rng.integers(0, buckets, kept)).size
    return counts


class TestUsers:
    @pytest.mark.parametrize("sampling", [Sampling(), Sampling(KEY_SPACE // 8), Sampling(KEY_SPACE, 64)])
    def test_are_those_of_the_expected_count(self, sampling: Sampling) -> None:
        """The number of users is the one whose expected count is the count."""
        for users in (0.0, 1.0, 17.0, 100.0):
            load = users * sampling.theta / (sampling.buckets or 1)
            expected = -math.expm1(-load) * sampling.buckets if sampling.buckets else users * sampling.theta
            assert sampling.users(expected) == pytest.approx(users)

    def test_of_a_count_below_zero_are_below_zero(self) -> None:
        """Nothing is cut before the end, so that estimates stay unbiased."""
        assert Sampling(KEY_SPACE // 2).users(-3) == -6
        below = Sampling(KEY_SPACE // 2, 64).users(-3)
        assert below is not None
        assert -6 < below < -5.8

    @pytest.mark.parametrize("count", [64, 65.5, 1000])
    def test_of_full_buckets_are_unknown(self, count: float) -> None:
        """When every bucket is hit the count says nothing more about the number of users."""
        assert Sampling(KEY_SPACE, 64).users(count) is None
        assert math.isfinite(Sampling(KEY_SPACE, 64).count_stddev(count))
        assert math.isfinite(Sampling(KEY_SPACE, 64).users_per_count(count))

    def test_per_count_is_the_slope(self) -> None:
        """One more in the count is that many more users."""
        for sampling in (Sampling(KEY_SPACE // 8), Sampling(KEY_SPACE // 4, 1024)):
            above, below = sampling.users(500.5), sampling.users(499.5)
            assert above is not None
            assert below is not None
            assert sampling.users_per_count(500) == pytest.approx(above - below, rel=1e-5)

    def test_only_whole_counts_of_users_are_exact(self) -> None:
        """theta = 1 without buckets has no error from sampling; buckets can be shared even then."""
        assert Sampling().is_exact
        assert Sampling().count_stddev(1e6) == 0
        assert not Sampling(KEY_SPACE, 64).is_exact
        assert not Sampling(KEY_SPACE // 2).is_exact


class TestError:
    @pytest.mark.parametrize(
        ("users", "theta", "buckets"), [(1600, 1.0, 1024), (100, 1.0, 1024), (6000, 0.25, 1024), (9000, 0.25, 1024)]
    )
    def test_of_bucket_counts_is_as_simulated(self, users: int, theta: float, buckets: int) -> None:
        """Mean and deviation of simulated level counts are the stated ones, to 4 standard errors of 3,000 runs."""
        sampling = Sampling(int(theta * KEY_SPACE), buckets)
        counts = hit_buckets(users, buckets=buckets, theta=theta, seed=1)
        expected = -buckets * math.expm1(-users * theta / buckets)
        stated = sampling.count_stddev(expected)
        assert counts.mean() == pytest.approx(expected, abs=4 * stated / RUNS**0.5 + 0.5)
        assert counts.std() == pytest.approx(stated, rel=4 / (2 * RUNS) ** 0.5 + 0.01)

    def test_of_hll_is_least_at_the_stated_load(self) -> None:
        """Over all loads the relative error of the users is at best 1.24 / sqrt(m), where 80 % are hit."""
        m = 65536
        sampling = Sampling(1 << 40, m)  # a small theta: all users are far more than m
        relative = {
            count: sampling.users_per_count(count) * sampling.count_stddev(count) / (sampling.users(count) or 1)
            for count in range(m // 10, m, 64)
        }
        best = min(relative, key=lambda count: relative[count])
        assert relative[best] * m**0.5 == pytest.approx(HLL_DEVIATION, abs=0.005)
        assert best / m == pytest.approx(0.8, abs=0.01)

    def test_falls_when_more_are_looked_at(self) -> None:
        """A larger theta errs less on the same number of users, and theta = 1 not at all where users are counted."""
        errors = [
            Sampling(KEY_SPACE >> bits).users_per_count(0) * Sampling(KEY_SPACE >> bits).count_stddev(1e6 / 2**bits)
            for bits in (6, 3, 1, 0)
        ]
        assert all(later < earlier for earlier, later in pairwise(errors))
        assert errors[-1] == 0
