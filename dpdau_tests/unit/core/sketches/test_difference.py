"""Laws of core/sketches/difference.py and bloom.py: what a filter costs is what it predicts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dpdau_assets.core.sketches.bloom import BloomFilter
from dpdau_assets.core.sketches.difference import a_not_b
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import InternalError
from dpdau_tests.support.sketches import array

SHARED, ONLY_FIRST, ONLY_SECOND = 20_000, 60_000, 40_000


def windows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Keys of two windows that share 20,000 users; 60,000 are in the first alone."""
    keys = np.random.default_rng(seed).integers(0, KEY_SPACE, SHARED + ONLY_FIRST + ONLY_SECOND, dtype=np.uint64)
    return np.unique(keys[: SHARED + ONLY_FIRST]), np.unique(np.concatenate((keys[:SHARED], keys[-ONLY_SECOND:])))


class TestBloomFilter:
    @pytest.mark.parametrize("fp_rate", [0.5, 0.1, 0.01, 0.001])
    def test_misses_none_and_invents_as_predicted(self, fp_rate: float) -> None:
        """Every own key is found; of 200,000 others the asked share within 10 %, and the predicted one within 10 %."""
        keys = np.unique(np.random.default_rng(1).integers(0, KEY_SPACE, 20_000, dtype=np.uint64))
        others = np.unique(np.random.default_rng(2).integers(0, KEY_SPACE, 200_000, dtype=np.uint64))
        bloom = BloomFilter.from_keys(keys, fp_rate=fp_rate)
        assert bloom.has(keys).all()
        measured = float(bloom.has(others).mean())
        slack = 0.1 if fp_rate > 0.001 else 0.3  # 200 false positives: their own deviation is 7 %
        assert measured == pytest.approx(fp_rate, rel=slack)
        assert bloom.predicted_fp_rate() == pytest.approx(measured, rel=slack)

    def test_of_nothing_has_nothing(self) -> None:
        """An empty filter takes no key for its own."""
        bloom = BloomFilter.from_keys(array([]), fp_rate=0.01)
        assert not bloom.has(array([0, 1, 2**64 - 1])).any()
        assert bloom.predicted_fp_rate() == 0

    @pytest.mark.parametrize("fp_rate", [0.0, 1.0, -0.1, 2.0])
    def test_needs_a_rate_between_0_and_1(self, fp_rate: float) -> None:
        """Settings refuse other rates; here they are our own bug."""
        with pytest.raises(InternalError):
            BloomFilter.from_keys(array([1]), fp_rate=fp_rate)

    def test_prints_no_key(self) -> None:
        """Its representation tells its size alone."""
        assert repr(BloomFilter.from_keys(array([12345]), fp_rate=0.01)) == "BloomFilter(n_bits=64, n_hashes=7)"


class TestDifference:
    def test_is_exact_without_sampling_or_filter(self) -> None:
        """All keys compared as they are give the number of users."""
        first, second = windows(1)
        assert a_not_b(first, second).users == np.setdiff1d(first, second).size
        assert a_not_b(first, first).users == 0
        assert a_not_b(first, array([])).users == first.size
        assert a_not_b(array([]), second).users == 0

    def test_of_samples_is_unbiased(self) -> None:
        """Below theta = 1/16 the mean of 40 estimates is within 4 standard errors of the truth."""
        estimates = [a_not_b(*windows(seed), threshold=KEY_SPACE >> 4).users for seed in range(40)]
        deviation = (ONLY_FIRST * 15) ** 0.5
        assert abs(np.mean(estimates) - ONLY_FIRST) < 4 * deviation / 40**0.5
        assert np.std(estimates) == pytest.approx(deviation, rel=4 / 80**0.5)

    @pytest.mark.parametrize("fp_rate", [0.1, 0.03, 0.01])
    def test_through_a_filter_is_biased_as_predicted(self, fp_rate: float) -> None:
        """Over ten pairs of windows the mean bias is within 10 % of -f |A not B|, and of what each result predicts."""
        biases, predictions = [], []
        for seed in range(10):
            first, second = windows(seed)
            exact, through = a_not_b(first, second), a_not_b(first, second, fp_rate=fp_rate)
            biases.append(through.users - exact.users)
            predictions.append(through.predicted_bias)
        assert np.mean(biases) == pytest.approx(-fp_rate * ONLY_FIRST, rel=0.1)
        assert np.mean(biases) == pytest.approx(np.mean(predictions), rel=0.1)

    def test_one_user_can_move_it_by_many(self) -> None:
        """Why no release may use it: one erased user more drops or revives dozens of others, as all bits move."""
        first, second = windows(1)
        left = [a_not_b(first, second[:erased], fp_rate=0.01).users for erased in range(100, 120)]
        exact = [a_not_b(first, second[:erased]).users for erased in range(100, 120)]
        assert max(abs(one - other) for one, other in pairwise(exact)) <= 1
        assert max(abs(one - other) for one, other in pairwise(left)) > 20

    def test_prints_nothing(self) -> None:
        """An estimate is sensitive and shows in no log line."""
        assert "30" not in repr(a_not_b(array(range(30)), array([])))
