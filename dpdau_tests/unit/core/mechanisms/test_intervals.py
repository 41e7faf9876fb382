"""Laws of core/mechanisms/intervals.py; simulated coverage is in statistical/test_coverage.py."""

from __future__ import annotations

import math

import pytest

from dpdau_assets.core.mechanisms.calibration import INDEPENDENT_NAMES, mechanism_from
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.sketches.protocol import KEY_SPACE


class TestExactInterval:
    @pytest.mark.parametrize("name", INDEPENDENT_NAMES)
    @pytest.mark.parametrize("epsilon", [0.1, 0.3, 0.5, 1.0])
    def test_is_the_shortest_that_holds(self, name: str, epsilon: float) -> None:
        """By the exact pmf it covers at least 95 %, and one user shorter on both sides it would not."""
        mechanism = mechanism_from(name, epsilon=epsilon, delta=1e-6)
        smallest, noise = mechanism.noise_pmf()
        lower, upper = interval_95(10_000, mechanism)
        reach = upper - 10_000
        assert 10_000 - lower == reach
        assert noise[-reach - smallest : reach - smallest + 1].sum() >= 0.95
        assert noise[-reach + 1 - smallest : reach - smallest].sum() < 0.95

    def test_never_goes_below_zero(self) -> None:
        """Counts are not negative, whatever was drawn."""
        mechanism = mechanism_from("gaussian", epsilon=0.3, delta=1e-6)
        assert interval_95(3, mechanism) == (0, 28)
        assert interval_95(-100, mechanism) == (0, 0)
        assert interval_95(-100, mechanism, threshold=KEY_SPACE // 4)[0] == 0


class TestSampledInterval:
    def test_is_the_stated_formula(self) -> None:
        """n +- 1.96 sqrt(n (1 - theta) / theta + Var / theta^2), rounded outwards."""
        mechanism = mechanism_from("gaussian", epsilon=0.5, delta=1e-6)
        lower, upper = interval_95(40_000, mechanism, threshold=KEY_SPACE // 8)
        users = 320_000
        reach = 1.959964 * math.sqrt(users * 7 + mechanism.noise_variance() * 64)
        assert (lower, upper) == (math.floor(users - reach), math.ceil(users + reach))

    def test_splits_the_error(self) -> None:
        """Without sampling only noise remains; with sampling the noise grows by 1 / theta."""
        mechanism = mechanism_from("laplace", epsilon=0.5, delta=1e-6)
        sampling, noise = error_stddevs(1000, mechanism)
        assert sampling == 0.0
        assert error_stddevs(1000, mechanism, threshold=KEY_SPACE // 2)[1] == pytest.approx(2 * noise)
        assert error_stddevs(-5, mechanism, threshold=KEY_SPACE // 2)[0] == 0.0
