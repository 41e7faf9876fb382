"""How much noise a stated loss needs, and the mechanism that adds it.

Belongs here: from (epsilon, delta) to a scale, and from a stored name and parameters back to a mechanism. Does not
belong here: the loss of many releases (`accounting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from dpdau_assets.core.mechanisms.distributions import discrete_gaussian_delta, smallest_satisfying
from dpdau_assets.core.mechanisms.gaussian import DiscreteGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.laplace import DiscreteLaplace
from dpdau_assets.errors import ConfigurationError, DataError

MECHANISM_NAMES = ("gaussian", "laplace")
"""Values of the setting MECHANISM that this module can make."""


def mechanism_from(name: str, *, epsilon: float, delta: float) -> Mechanism:
    """The mechanism whose single release on a count of sensitivity 1 is (epsilon, delta)-DP.

    Args:
        name: `gaussian` or `laplace`.
        epsilon: Loss of one release, positive; public.
        delta: In (0, 1); the discrete Laplace mechanism does not use it.

    Raises:
        ConfigurationError: No mechanism has this name.
    """
    if name == "gaussian":
        return DiscreteGaussian(gaussian_stddev(epsilon, delta), epsilon, delta)
    if name == "laplace":
        return DiscreteLaplace(laplace_scale(epsilon), epsilon)
    raise ConfigurationError(
        f"MECHANISM={name} is not supported by this version", hint=f"use one of {', '.join(MECHANISM_NAMES)}"
    )


def mechanism_from_parameters(name: str, parameters: Mapping[str, float]) -> Mechanism:
    """The mechanism frozen for an account.

    Args:
        name: As stored, `gaussian` or `laplace`.
        parameters: As stored: `Mechanism.parameters`.

    Raises:
        DataError: Name and parameters do not describe a mechanism.
    """
    try:
        if name == "gaussian":
            return DiscreteGaussian(
                float(parameters["stddev"]), float(parameters["epsilon"]), float(parameters["delta"])
            )
        if name == "laplace":
            return DiscreteLaplace(float(parameters["scale"]), float(parameters["epsilon"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"an account's parameters for mechanism {name!r} are malformed", hint="restore the ledger from a backup"
        ) from error
    raise DataError(
        f"an account was opened with mechanism {name!r}, which this version does not have",
        hint="use the version of dpdau that opened it",
    )


def laplace_scale(epsilon: float) -> float:
    """Smallest float at or above 1 / epsilon, so that the release is epsilon-DP without rounding in its favour.

    Args:
        epsilon: Loss of one release, positive; public.
    """
    scale = 1 / epsilon
    while Fraction(scale) * Fraction(epsilon) < 1:
        scale = math.nextafter(scale, math.inf)
    return scale


@lru_cache(maxsize=256)
def gaussian_stddev(epsilon: float, delta: float) -> float:
    """Stddev for which one discrete Gaussian release on a count of sensitivity 1 is (epsilon, delta)-DP.

    The analytic (continuous) value times the smallest factor f >= 1 whose *discrete* hockey-stick divergence is at
    most delta, because the lattice makes the divergence oscillate around the continuous one: f is 1 at epsilon 0.3,
    0.4 and 0.5 and 1.0014 at epsilon 1 (delta 1e-6). The returned value satisfies the inequality itself, not up to a
    tolerance.

    Args:
        epsilon: Loss of one release, positive; public.
        delta: In (0, 1); public.

    Reference: Balle and Wang (2018), arXiv 1805.06530, Theorem 8; Dong, Roth, Su (2022), Corollary 2.13.
    """
    stddev = 1 / gaussian_mu(epsilon, delta)
    if discrete_gaussian_delta(epsilon, stddev=stddev) <= delta:
        return stddev
    insufficient, step = 1.0, 1e-6
    while discrete_gaussian_delta(epsilon, stddev=stddev * (1 + step)) > delta:
        insufficient, step = 1 + step, 1.25 * step
    return smallest_satisfying(
        lambda candidate: discrete_gaussian_delta(epsilon, stddev=candidate) <= delta,
        low=stddev * insufficient,
        high=stddev * (1 + step),
    )


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The mu for which mu-GDP is exactly (epsilon, delta)-DP, to 1e-13; 1 / mu is the analytic Gaussian stddev.

    Args:
        epsilon: Loss, >= 0.
        delta: In (0, 1).
    """
    low, high = 0.0, 1.0
    while gdp_delta(epsilon, mu=high) < delta:
        low, high = high, 2 * high
    return smallest_satisfying(lambda mu: gdp_delta(epsilon, mu=mu) >= delta, low=low, high=high)


def gdp_delta(epsilon: float, *, mu: float) -> float:
    """Delta of a mu-GDP mechanism at epsilon: Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu).

    Args:
        epsilon: Loss, in [0, 700].
        mu: Ratio of sensitivity to stddev, composed by root of the sum of squares; >= 0.

    Reference: Dong, Roth, Su (2022), "Gaussian differential privacy", Corollary 2.13.
    """
    if mu <= 0:
        return 0.0
    root = math.sqrt(2)
    above = math.erfc((epsilon / mu - mu / 2) / root) / 2
    below = math.erfc((epsilon / mu + mu / 2) / root) / 2
    return above - math.exp(epsilon) * below
