"""Laws of core/mechanisms/calibration.py."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from dpdau_assets.core.accounting.naive import event_epsilon
from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DiscreteLaplaceEvent
from dpdau_assets.core.mechanisms.calibration import (
    INDEPENDENT_NAMES,
    gaussian_stddev,
    laplace_scale,
    mechanism_from,
    mechanism_from_parameters,
)
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.probability.distributions import discrete_gaussian_delta
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu, gdp_delta
from dpdau_assets.errors import ConfigurationError, DataError

DELTA = 1e-6
EPSILONS = (0.01, 0.1, 0.3, 0.4, 0.5, 1.0, 2.0, 10.0, 100.0)


class TestGaussian:
    @pytest.mark.parametrize(("epsilon", "stddev"), [(0.3, 12.99), (0.4, 9.93), (0.5, 8.06)])
    def test_published_noise(self, epsilon: float, stddev: float) -> None:
        """The default epsilons get the standard deviations that the documentation names."""
        assert gaussian_stddev(epsilon, DELTA) == pytest.approx(stddev, abs=0.005)

    def test_analytic_value_at_one(self) -> None:
        """At (1, 1e-6) the analytic Gaussian needs 4.2247, mu 0.23670, not 5.350 or 5.299."""
        assert 1 / gaussian_mu(1.0, DELTA) == pytest.approx(4.2247, abs=5e-5)
        assert gaussian_mu(1.0, DELTA) == pytest.approx(0.23670, abs=5e-6)
        assert gdp_delta(1.0, mu=gaussian_mu(1.0, DELTA)) == pytest.approx(DELTA, rel=1e-6)

    @pytest.mark.parametrize("epsilon", EPSILONS)
    @pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-3])
    def test_keeps_its_promise_exactly(self, epsilon: float, delta: float) -> None:
        """The exact discrete divergence at epsilon is at most delta, for at most 1 % more noise than continuous."""
        stddev = gaussian_stddev(epsilon, delta)
        analytic = 1 / gaussian_mu(epsilon, delta)
        assert discrete_gaussian_delta(epsilon, stddev=stddev) <= delta
        if analytic > 2:
            assert analytic <= stddev <= 1.01 * analytic

    def test_corrects_for_the_lattice(self) -> None:
        """At epsilon 1 the continuous value breaks the promise on integers, and the correction is the smallest."""
        analytic = 1 / gaussian_mu(1.0, DELTA)
        stddev = gaussian_stddev(1.0, DELTA)
        assert discrete_gaussian_delta(1.0, stddev=analytic) > DELTA
        assert 1.001 < stddev / analytic < 1.002
        assert discrete_gaussian_delta(1.0, stddev=stddev * (1 - 1e-6)) > DELTA


class TestLaplace:
    @pytest.mark.parametrize("epsilon", EPSILONS)
    def test_rounds_against_itself(self, epsilon: float) -> None:
        """1 / scale never exceeds epsilon, in exact arithmetic."""
        scale = laplace_scale(epsilon)
        assert 1 / Fraction(scale) <= Fraction(epsilon)
        assert scale == pytest.approx(1 / epsilon, rel=1e-15)


class TestMechanismFrom:
    @pytest.mark.parametrize("name", INDEPENDENT_NAMES)
    @pytest.mark.parametrize("epsilon", EPSILONS)
    def test_event_costs_at_most_what_was_asked(self, name: str, epsilon: float) -> None:
        """The event of one draw is (epsilon, delta)-DP for the epsilon and delta the mechanism states."""
        mechanism = mechanism_from(name, epsilon=epsilon, delta=DELTA)
        assert mechanism.epsilon == epsilon
        # the search for the event's epsilon ends a relative 1e-13 above it
        assert event_epsilon(mechanism.event(), delta=DELTA) <= epsilon * (1 + 1e-12)
        assert mechanism.delta == {"gaussian": DELTA, "laplace": 0.0}[name]

    @pytest.mark.parametrize("name", INDEPENDENT_NAMES)
    def test_parameters_are_the_whole_mechanism(self, name: str) -> None:
        """Name and stored parameters give the same mechanism back."""
        mechanism = mechanism_from(name, epsilon=0.3, delta=DELTA)
        assert isinstance(mechanism, Mechanism)
        assert mechanism_from_parameters(mechanism.name, mechanism.parameters) == mechanism

    def test_event_names_the_noise(self) -> None:
        """The event carries the scale that the draw uses."""
        assert mechanism_from("gaussian", epsilon=0.5, delta=DELTA).event() == DiscreteGaussianEvent(
            gaussian_stddev(0.5, DELTA)
        )
        assert mechanism_from("laplace", epsilon=0.5, delta=DELTA).event() == DiscreteLaplaceEvent(2.0)

    def test_unknown_names(self) -> None:
        """A mechanism that does not exist is refused, by configuration and in stored accounts."""
        with pytest.raises(ConfigurationError):
            mechanism_from("correlated", epsilon=0.3, delta=DELTA)
        with pytest.raises(DataError):
            mechanism_from_parameters("correlated", {"stddev": 1.0})
        with pytest.raises(DataError):
            mechanism_from_parameters("gaussian", {"scale": 1.0})

    def test_variance_and_quantile_are_the_noises(self) -> None:
        """A mechanism's stated errors are those of its pmf."""
        gaussian = mechanism_from("gaussian", epsilon=0.3, delta=DELTA)
        assert math.sqrt(gaussian.noise_variance()) == pytest.approx(12.99, abs=0.005)
        assert gaussian.noise_quantile(0.5) == 0
        assert gaussian.noise_quantile(0.975) == -gaussian.noise_quantile(0.025) == 25
