"""Laws of core/mechanisms/distributions.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpdau_assets.core.probability.distributions import (
    discrete_gaussian_delta,
    discrete_gaussian_epsilon,
    discrete_gaussian_pmf,
    discrete_gaussian_variance,
    discrete_laplace_pmf,
    quantile,
    variance,
)

STDDEVS = (0.3, 1.0, 8.06, 12.99, 400.0)


class TestPmf:
    @pytest.mark.parametrize("stddev", STDDEVS)
    def test_gaussian_is_the_definition(self, stddev: float) -> None:
        """Neighbouring probabilities have the ratio of the density, and all sum to 1."""
        smallest, probabilities = discrete_gaussian_pmf(stddev)
        assert math.fsum(probabilities) == pytest.approx(1, abs=1e-12)
        assert probabilities[-smallest + 1] / probabilities[-smallest] == pytest.approx(math.exp(-0.5 / stddev**2))

    @pytest.mark.parametrize("scale", [0.5, 2.0, 1 / 0.3, 40.0])
    def test_laplace_is_the_closed_form(self, scale: float) -> None:
        """Pr[x] = (1 - q) / (1 + q) q^|x| with q = exp(-1 / scale)."""
        smallest, probabilities = discrete_laplace_pmf(scale)
        q = math.exp(-1 / scale)
        values = np.arange(smallest, smallest + len(probabilities))
        assert probabilities == pytest.approx((1 - q) / (1 + q) * q ** np.abs(values), rel=1e-9, abs=1e-300)

    @pytest.mark.parametrize("stddev", [0.3, 0.8, 3.99, 4.0, 12.0, 400.0])
    def test_variance_is_that_of_the_pmf(self, stddev: float) -> None:
        """Whether summed or not, the variance is the pmf's; under a small parameter it is not its square."""
        assert discrete_gaussian_variance(stddev) == pytest.approx(variance(discrete_gaussian_pmf(stddev)), rel=1e-12)
        assert (abs(discrete_gaussian_variance(stddev) / stddev**2 - 1) > 1e-6) is (stddev < 1)

    def test_wide_noise_needs_no_memory(self) -> None:
        """A deviation of a billion users is stated at once."""
        assert discrete_gaussian_variance(1e9) == 1e18

    def test_is_shared_read_only(self) -> None:
        """A memoised pmf cannot be changed by who was handed it."""
        _, probabilities = discrete_gaussian_pmf(3.0)
        with pytest.raises(ValueError, match="read-only"):
            probabilities[0] = 1.0


class TestMoments:
    @pytest.mark.parametrize("stddev", STDDEVS[1:])
    def test_gaussian_variance(self, stddev: float) -> None:
        """From sigma 1 on, the discrete Gaussian's variance is sigma^2 to within 1e-6."""
        assert variance(discrete_gaussian_pmf(stddev)) == pytest.approx(stddev**2, rel=1e-6)

    def test_laplace_variance(self) -> None:
        """The discrete Laplace variance is 2 q / (1 - q)^2."""
        q = math.exp(-1 / 3.5)
        assert variance(discrete_laplace_pmf(3.5)) == pytest.approx(2 * q / (1 - q) ** 2)

    @pytest.mark.parametrize("pmf", [discrete_gaussian_pmf(8.06), discrete_laplace_pmf(2.5)])
    @pytest.mark.parametrize("probability", [0.001, 0.5, 0.975, 0.999])
    def test_quantile_is_the_smallest(self, pmf: tuple[int, np.ndarray], probability: float) -> None:
        """At the quantile the distribution function reaches the probability; one below it does not."""
        smallest, probabilities = pmf
        position = quantile(pmf, probability) - smallest
        assert probabilities[: position + 1].sum() >= probability > probabilities[:position].sum()


class TestHockeyStick:
    @pytest.mark.parametrize("stddev", STDDEVS[1:4])
    @pytest.mark.parametrize("sensitivity", [1, 3])
    def test_is_the_sum_of_its_definition(self, stddev: float, sensitivity: int) -> None:
        """Delta is the sum of max(0, P - e^epsilon Q) over the noise and its shift, in both directions."""
        _, noise = discrete_gaussian_pmf(stddev)
        left, right = np.pad(noise, (0, sensitivity)), np.pad(noise, (sensitivity, 0))
        for epsilon in (0.0, 0.1, 0.5, 2.0):
            expected = np.maximum(0, left - math.exp(epsilon) * right).sum()
            back = np.maximum(0, right - math.exp(epsilon) * left).sum()
            found = discrete_gaussian_delta(epsilon, stddev=stddev, l2_sensitivity=sensitivity)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-25)
            assert found == pytest.approx(back, rel=1e-9, abs=1e-25)

    @pytest.mark.parametrize("stddev", STDDEVS)
    def test_epsilon_inverts_delta(self, stddev: float) -> None:
        """The epsilon found holds at its delta, and a thousandth less does not."""
        epsilon = discrete_gaussian_epsilon(1e-6, stddev=stddev)
        assert discrete_gaussian_delta(epsilon, stddev=stddev) <= 1e-6
        assert discrete_gaussian_delta(0.999 * epsilon, stddev=stddev) > 1e-6

    def test_enough_noise_costs_nothing(self) -> None:
        """Noise so wide that the total variation is under delta has epsilon 0."""
        assert discrete_gaussian_epsilon(0.09, stddev=10.0) == 0.0
