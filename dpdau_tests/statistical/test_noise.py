"""What the noise sources draw, against the exact pmf of the mechanisms.

Chi-squared test on cells of at least 8 expected draws. N = 5,000 draws, threshold p < 1e-6: one false alarm in a
million runs for the secure source, none for the seeded one, whose draws are fixed. A stddev or scale of 0.8 of the
stated one gives p below 1e-25, so the power is 1 for practical purposes; every case is run with that as its negative
control.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import stats

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SecureNoise, SeededNoise
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf, discrete_laplace_pmf

DRAWS = 5000
ALARM = 1e-6
SMALLEST_CELL = 8

GAUSSIAN_STDDEVS = (1.0, 12.99)
LAPLACE_SCALES = (0.8, 1 / 0.3)


def p_value(draws: list[int], pmf: Pmf) -> float:
    """Probability of a chi-squared statistic at least as large, neighbouring values pooled into cells."""
    smallest, probabilities = pmf
    counted = Counter(draws)
    assert min(counted) >= smallest
    assert max(counted) < smallest + len(probabilities)
    observed, expected = [0.0], [0.0]
    for value, probability in zip(range(smallest, smallest + len(probabilities)), probabilities, strict=True):
        if expected[-1] >= SMALLEST_CELL:
            observed.append(0.0)
            expected.append(0.0)
        observed[-1] += counted[value]
        expected[-1] += probability * len(draws)
    observed[-2:], expected[-2:] = [sum(observed[-2:])], [sum(expected[-2:])]
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, expected, strict=True))
    return float(stats.chi2.sf(statistic, len(expected) - 1))


def source_named(name: str) -> NoiseSource:
    return SecureNoise() if name == "secure" else SeededNoise(b"statistical-test-key")


@cache
def drawn(source: str, law: str, parameter: float) -> list[int]:
    noise = source_named(source)
    draw: Callable[[float], int] = noise.discrete_gaussian if law == "gaussian" else noise.discrete_laplace
    return [draw(parameter) for _ in range(DRAWS)]


@pytest.mark.parametrize("source", ["secure", "seeded"])
class TestNoiseFit:
    @pytest.mark.parametrize("stddev", GAUSSIAN_STDDEVS)
    @pytest.mark.one_is_enough
    def test_gaussian_draws_have_the_exact_law(self, source: str, stddev: float) -> None:
        """Discrete Gaussian draws fit their pmf, and do not fit the pmf of noise 1 / 0.8 as wide."""
        draws = drawn(source, "gaussian", stddev)
        assert p_value(draws, discrete_gaussian_pmf(stddev)) > ALARM
        assert p_value(draws, discrete_gaussian_pmf(stddev / 0.8)) < ALARM

    @pytest.mark.parametrize("scale", LAPLACE_SCALES)
    @pytest.mark.one_is_enough
    def test_laplace_draws_have_the_exact_law(self, source: str, scale: float) -> None:
        """Discrete Laplace draws fit their pmf, and do not fit the pmf of noise 1 / 0.8 as wide."""
        draws = drawn(source, "laplace", scale)
        assert p_value(draws, discrete_laplace_pmf(scale)) > ALARM
        assert p_value(draws, discrete_laplace_pmf(scale / 0.8)) < ALARM

    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_the_two_laws_are_told_apart(self, source: str) -> None:
        """Laplace draws do not pass for Gaussian ones of the same variance, nor the other way round."""
        laplace_stddev = 2**0.5 / 0.3
        assert p_value(drawn(source, "laplace", 1 / 0.3), discrete_gaussian_pmf(laplace_stddev)) < ALARM
        assert p_value(drawn(source, "gaussian", 12.99), discrete_laplace_pmf(12.99 / 2**0.5)) < ALARM

    def test_neighbouring_draws_are_uncorrelated(self, source: str) -> None:
        """The lag-1 correlation of 5,000 draws is within 5 standard errors of 0 (false alarm 6e-7)."""
        draws = np.array(drawn(source, "gaussian", 12.99))
        assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / DRAWS**0.5


class TestMechanismDraw:
    @pytest.mark.parametrize(("name", "pmf"), [("gaussian", discrete_gaussian_pmf), ("laplace", discrete_laplace_pmf)])
    def test_adds_its_own_noise_to_the_value(self, name: str, pmf: Callable[[float], Pmf]) -> None:
        """A mechanism's draws minus the value fit the pmf of its stated parameter; a value off by one does not."""
        mechanism = mechanism_from(name, epsilon=1.0, delta=1e-6)
        source = SeededNoise(b"mechanism-draw-key")
        draws = [mechanism.draw(1000, source) for _ in range(DRAWS)]
        parameter = mechanism.parameters["stddev" if name == "gaussian" else "scale"]
        assert p_value([draw - 1000 for draw in draws], pmf(parameter)) > ALARM
        assert p_value([draw - 1001 for draw in draws], pmf(parameter)) < ALARM
