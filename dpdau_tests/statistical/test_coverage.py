"""How often published intervals hold the truth, by simulated releases.

RELEASES = 20,000 a case. Coverage is compared with a target to 4 binomial standard errors (0.62 %; false alarm 6e-5 per
case, none in practice because every seed is fixed), and must fail for noise 1 / 0.8 as wide as stated.
"""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.calibration import INDEPENDENT_NAMES, mechanism_from
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.intervals import interval_95
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf, discrete_laplace_pmf
from dpdau_assets.core.release.release import estimate_of, threshold_for
from dpdau_assets.core.sketches.protocol import KEY_SPACE

RELEASES = 20_000
FOUR_ERRORS = 4 * (0.95 * 0.05 / RELEASES) ** 0.5


def noises(pmf: Pmf, rng: np.random.Generator) -> np.ndarray:
    smallest, probabilities = pmf
    return smallest + rng.choice(len(probabilities), size=RELEASES, p=probabilities / probabilities.sum())


def wider(mechanism: Mechanism) -> Pmf:
    """The pmf that this mechanism would have if its stated parameter were 0.8 of the true one."""
    if mechanism.name == "gaussian":
        return discrete_gaussian_pmf(mechanism.parameters["stddev"] / 0.8)
    return discrete_laplace_pmf(mechanism.parameters["scale"] / 0.8)


def coverage(draws: np.ndarray, mechanism: Mechanism, *, truth: int, threshold: int = KEY_SPACE) -> float:
    held = {int(d): interval_95(int(d), mechanism, threshold=threshold) for d in np.unique(draws)}
    return float(np.mean([held[int(d)][0] <= truth <= held[int(d)][1] for d in draws]))


@pytest.mark.parametrize("name", INDEPENDENT_NAMES)
@pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.5])
class TestExactCounts:
    def test_covers_as_the_pmf_says(self, name: str, epsilon: float) -> None:
        """Coverage is that of the exact quantile, at least 95 %; noise wider than stated is noticed."""
        mechanism = mechanism_from(name, epsilon=epsilon, delta=1e-6)
        rng = np.random.default_rng([1, round(100 * epsilon)])
        reach = mechanism.noise_quantile(0.975)
        smallest, noise = mechanism.noise_pmf()
        exact = noise[-reach - smallest : reach - smallest + 1].sum()
        assert exact >= 0.95
        found = coverage(5000 + noises(mechanism.noise_pmf(), rng), mechanism, truth=5000)
        assert found == pytest.approx(exact, abs=FOUR_ERRORS)
        assert coverage(5000 + noises(wider(mechanism), rng), mechanism, truth=5000) < exact - FOUR_ERRORS

    def test_covers_small_counts(self, name: str, epsilon: float) -> None:
        """Near zero, where intervals are cut, coverage does not fall below 95 %."""
        mechanism = mechanism_from(name, epsilon=epsilon, delta=1e-6)
        rng = np.random.default_rng([2, round(100 * epsilon)])
        for truth in (0, 1, 5):
            draws = truth + noises(mechanism.noise_pmf(), rng)
            assert coverage(draws, mechanism, truth=truth) >= 0.95 - FOUR_ERRORS

    def test_is_not_wider_than_the_noise(self, name: str, epsilon: float) -> None:
        """Half the width is the 95 % quantile of |noise| from the draws, to within 5 % or one user."""
        mechanism = mechanism_from(name, epsilon=epsilon, delta=1e-6)
        rng = np.random.default_rng([3, round(100 * epsilon)])
        lower, upper = interval_95(5000, mechanism)
        quantile = float(np.quantile(np.abs(noises(mechanism.noise_pmf(), rng)), 0.95))
        assert (upper - lower) / 2 <= max(1.05 * quantile, quantile + 1)


@pytest.mark.parametrize("name", INDEPENDENT_NAMES)
@pytest.mark.parametrize(("users", "k"), [(20_000, 4096), (1_000_000, 4096), (1_000_000, 65536)])
class TestSampledCounts:
    def releases(self, mechanism: Mechanism, users: int, k: int, noise: Pmf) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng([4, users, k])
        threshold = threshold_for(users, k=k)
        kept = rng.binomial(users, threshold / KEY_SPACE, size=RELEASES)
        return kept + noises(noise, rng), threshold

    @pytest.mark.one_is_enough
    def test_covers(self, name: str, users: int, k: int) -> None:
        """Over sampling and noise together coverage is 95 % to within 4 standard errors and 0.3 % of rounding."""
        mechanism = mechanism_from(name, epsilon=0.3, delta=1e-6)
        draws, threshold = self.releases(mechanism, users, k, mechanism.noise_pmf())
        assert threshold < KEY_SPACE
        found = coverage(draws, mechanism, truth=users, threshold=threshold)
        assert found == pytest.approx(0.95, abs=FOUR_ERRORS + 0.003)

    def test_is_not_wider_than_the_error(self, name: str, users: int, k: int) -> None:
        """Half the width is within 5 % of the 95 % quantile of the estimates' true errors."""
        mechanism = mechanism_from(name, epsilon=0.3, delta=1e-6)
        draws, threshold = self.releases(mechanism, users, k, mechanism.noise_pmf())
        errors = np.abs([estimate_of(int(d), threshold=threshold) - users for d in draws])
        lower, upper = interval_95(round(users * threshold / KEY_SPACE), mechanism, threshold=threshold)
        assert (upper - lower) / 2 <= 1.05 * float(np.quantile(errors, 0.95))

    def test_is_unbiased(self, name: str, users: int, k: int) -> None:
        """The mean estimate is within 4 standard errors of the truth; one percent more users would be noticed."""
        mechanism = mechanism_from(name, epsilon=0.3, delta=1e-6)
        draws, threshold = self.releases(mechanism, users, k, mechanism.noise_pmf())
        estimates = np.array([estimate_of(int(d), threshold=threshold) for d in draws], dtype=np.float64)
        error = 4 * estimates.std() / RELEASES**0.5
        assert abs(estimates.mean() - users) < error < 0.01 * users
