"""How often the published intervals of sampled counts hold the truth, for each mechanism and each way of counting.

RELEASES = 2,500 a case, at the loads that thresholds aim at and at the edges of what they leave standing. Coverage is
compared with 95 % to 4 binomial standard errors (1.7 %), with 1 % allowed above for rounding outwards, and must fail
for noise 1 / 0.7 as wide as stated where noise matters. Mean width is compared with the exact quantile of the errors.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.sampling import Sampling
from dpdau_assets.core.sketches.protocol import KEY_SPACE

RELEASES = 2500
FOUR_ERRORS = 4 * (0.95 * 0.05 / RELEASES) ** 0.5
MECHANISMS = ("gaussian", "laplace", "correlated")
CASES = {
    "kmv": (20_000, Sampling(KEY_SPACE // 8)),
    "theta": (20_000, Sampling(KEY_SPACE // 4)),
    "theta, few users": (300, Sampling(KEY_SPACE // 4)),
    "hll": (5000, Sampling(KEY_SPACE, 4096)),
    "hll, sampled": (40_000, Sampling(KEY_SPACE // 8, 4096)),
    "hll, grown": (80_000, Sampling(KEY_SPACE // 8, 4096)),
    "hll, few users": (200, Sampling(KEY_SPACE, 4096)),
}


def mechanism_of(name: str) -> Mechanism:
    if name == "correlated":
        return correlated_gaussian(PeriodPlan(33, epsilon_cap=3.0, delta=1e-6))
    return mechanism_from(name, epsilon=0.3, delta=1e-6)


@cache
def exact_counts(case: str) -> np.ndarray:
    """What a sketch would count of random sets."""
    users, sampling = CASES[case]
    rng = np.random.default_rng([users, sampling.threshold.bit_length()])
    kept = rng.binomial(users, sampling.theta, size=RELEASES)
    if sampling.buckets is None:
        return kept
    return np.array([np.count_nonzero(np.bincount(rng.integers(0, sampling.buckets, number))) for number in kept])


def draws(counts: np.ndarray, mechanism: Mechanism, *, widened: float = 1.0) -> np.ndarray:
    """Noisy counts in units of draws."""
    smallest, probabilities = mechanism.noise_pmf()
    rng = np.random.default_rng(7)
    noise = smallest + rng.choice(len(probabilities), size=RELEASES, p=probabilities / probabilities.sum())
    return counts * mechanism.units_per_user + np.rint(noise * widened).astype(np.int64)


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("case", sorted(CASES))
class TestIntervals:
    def test_cover_and_are_no_wider_than_needed(self, case: str, name: str) -> None:
        """Coverage is 95 %, the mean half width at most 1.05 of the errors' 95 % quantile, or one user more."""
        users, sampling = CASES[case]
        mechanism = mechanism_of(name)
        found = draws(exact_counts(case), mechanism)
        ends = {
            int(drawn): interval_95(int(drawn), mechanism, threshold=sampling.threshold, buckets=sampling.buckets)
            for drawn in np.unique(found)
        }
        lower, upper = (np.array([ends[int(drawn)][side] for drawn in found], dtype=np.float64) for side in (0, 1))
        coverage = float(np.mean((lower <= users) & (users <= upper)))
        assert -FOUR_ERRORS <= coverage - 0.95 <= FOUR_ERRORS + 0.01
        estimates = np.array([sampling.users(drawn / mechanism.units_per_user) for drawn in found])
        quantile = float(np.quantile(np.abs(estimates - users), 0.95))
        assert float(np.mean(upper - lower)) / 2 <= 1.05 * quantile + 1

    def test_split_their_error(self, case: str, name: str) -> None:
        """The two stated deviations add up in squares to the deviation of the simulated estimates, within 8 %."""
        users, sampling = CASES[case]
        mechanism = mechanism_of(name)
        estimates = np.array(
            [sampling.users(drawn / mechanism.units_per_user) for drawn in draws(exact_counts(case), mechanism)]
        )
        expected = float(np.mean(exact_counts(case))) * mechanism.units_per_user
        parts = error_stddevs(round(expected), mechanism, threshold=sampling.threshold, buckets=sampling.buckets)
        assert np.hypot(*parts) == pytest.approx(estimates.std(), rel=0.08)
        assert estimates.mean() == pytest.approx(users, abs=4 * np.hypot(*parts) / RELEASES**0.5 + 0.001 * users)


@pytest.mark.parametrize("case", ["hll, few users", "theta, few users"])
def test_noise_wider_than_stated_is_noticed(case: str) -> None:
    """Where noise matters, 1 / 0.7 of it leaves the truth outside too often."""
    users, sampling = CASES[case]
    mechanism = mechanism_of("gaussian")
    found = draws(exact_counts(case), mechanism, widened=1 / 0.7)
    held = [
        interval_95(int(drawn), mechanism, threshold=sampling.threshold, buckets=sampling.buckets) for drawn in found
    ]
    assert np.mean([low <= users <= (high or users) for low, high in held]) < 0.95 - FOUR_ERRORS
