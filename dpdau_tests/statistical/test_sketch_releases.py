"""How often published intervals hold the truth, for each mechanism and each way of counting that it may release.

RELEASES = 2,500 a case: exact counts, and sampled ones at the loads that thresholds aim at and at the edges of what
they leave standing. Coverage is compared with 95 % to 4 binomial standard errors (1.7 %), with 1 % allowed above for
rounding outwards, and must fail for noise 1 / 0.7 as wide as stated where noise matters. Mean width is compared with
the exact quantile of the errors.
"""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.mechanisms.samplers import SecureNoise
from dpdau_assets.core.probability.distributions import discrete_gaussian_pmf
from dpdau_assets.core.quantities import METRICS
from dpdau_assets.core.release.joint_release import make_joint_results
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.sampling import Sampling
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM

RELEASES = 2500
FOUR_ERRORS = 4 * (0.95 * 0.05 / RELEASES) ** 0.5
MECHANISMS = ("gaussian", "laplace", "correlated")
CASES = {
    "set": (5000, Sampling(KEY_SPACE)),
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
    @pytest.mark.one_is_enough
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
@pytest.mark.one_is_enough
def test_noise_wider_than_stated_is_noticed(case: str) -> None:
    """Where noise matters, 1 / 0.7 of it leaves the truth outside too often."""
    users, sampling = CASES[case]
    mechanism = mechanism_of("gaussian")
    found = draws(exact_counts(case), mechanism, widened=1 / 0.7)
    held = [
        interval_95(int(drawn), mechanism, threshold=sampling.threshold, buckets=sampling.buckets) for drawn in found
    ]
    assert np.mean([low <= users <= (high or users) for low, high in held]) < 0.95 - FOUR_ERRORS


class TestJointIntervals:
    COUNTS = (900, 2400, 4800)

    def errors(self, releases: int, *, widened: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Error of the estimate, whether the interval holds the truth, and its width: each [releases, 3]."""
        mechanism = joint_gaussian(PeriodPlan(33, 5.9, delta=1e-6))
        rng = np.random.default_rng(8)
        fresh = drawn_from(mechanism.release_stddev, (releases, 3), rng) * widened
        noise = np.rint(fresh + drawn_from(mechanism.shared_stddev, (releases, 1), rng) * mechanism.shape.centre)
        mixed = np.array(mechanism.shape.apply(self.COUNTS)) + noise.astype(np.int64)
        days = dict.fromkeys(METRICS, 1)
        source, day = SecureNoise(), date(2025, 1, 1)
        made = [
            make_joint_results(tuple(row), mechanism, source=source, day=day, window_days=days, days_in_window=days)
            for row in mixed.tolist()
        ]
        ends = np.array([[(each[m].estimate, each[m].lower_95, each[m].upper_95) for m in METRICS] for each in made])
        truth = np.array(self.COUNTS)
        is_held = (ends[..., 1] <= truth) & (truth <= ends[..., 2])
        return ends[..., 0] - truth, is_held, ends[..., 2] - ends[..., 1]

    def test_cover_and_are_no_wider_than_needed(self) -> None:
        """Each of the three: coverage 95 % to 4 standard errors, mean half width at most 1.05 of the quantile."""
        errors, is_held, widths = self.errors(2000)
        assert np.abs(is_held.mean(axis=0) - 0.95).max() <= 4 * (0.95 * 0.05 / 2000) ** 0.5
        assert (widths.mean(axis=0) / 2 <= 1.05 * np.quantile(np.abs(errors), 0.95, axis=0)).all()

    def test_noise_wider_than_stated_is_noticed(self) -> None:
        """With fresh noise 1 / 0.7 as wide the truth lies outside too often."""
        assert self.errors(RELEASES // 4, widened=1 / 0.7)[1].mean(axis=0).max() < 0.95 - 2 * FOUR_ERRORS


def drawn_from(stddev: float, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    smallest, probabilities = discrete_gaussian_pmf(stddev)
    return smallest + rng.choice(len(probabilities), size=size, p=probabilities / probabilities.sum())


def test_every_pair_that_releases_support_is_simulated() -> None:
    """The cases above cover the table of supported mechanisms and sketches."""
    simulated = {(name, case.split(",")[0]) for name in MECHANISMS for case in CASES} | {("joint", "set")}
    supported = {(name, sketch) for name, sketches in SKETCHES_OF_MECHANISM.items() for sketch in sketches}
    assert simulated == supported
