"""Computes how much noise a stated loss needs, and makes the mechanism that adds it.

Belongs here: from (epsilon, delta) to a scale, and from a stored name and parameters back to a mechanism. Does not
belong here: the loss of many releases (`accounting`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian, correlated_gaussian
from dpdau_assets.core.mechanisms.gaussian import DiscreteGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.laplace import DiscreteLaplace
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.distributions import discrete_gaussian_delta, smallest_satisfying
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import ConfigurationError, DataError

INDEPENDENT_NAMES = ("gaussian", "laplace")
"""Mechanisms whose every release draws its own noise."""
SINGLE_METRIC_NAMES = (*INDEPENDENT_NAMES, "correlated")
"""Mechanisms of one metric; `joint` serves all three."""


def mechanism_from(name: str, *, epsilon: float, delta: float, plan: PeriodPlan | None = None) -> Mechanism:
    """A mechanism for counts of sensitivity 1.

    `gaussian`, `laplace`: each release is (epsilon, delta)-DP. `correlated`: everything in the plan is, together.

    Args:
        name: One of `SINGLE_METRIC_NAMES`.
        epsilon: Loss of one release, positive; public; `correlated` does not use it.
        delta: In (0, 1); the discrete Laplace mechanism does not use it.
        plan: What the account is planned to release; needed by `correlated` alone.

    Raises:
        ConfigurationError: No mechanism of a single metric has this name, or it lacks its plan.
    """
    if name == "correlated" and plan is not None:
        return correlated_gaussian(plan)
    if name == "gaussian":
        return DiscreteGaussian(gaussian_stddev(epsilon, delta), epsilon, delta)
    if name == "laplace":
        return DiscreteLaplace(laplace_scale(epsilon), epsilon)
    raise ConfigurationError(
        f"MECHANISM={name} is not supported by this version", hint=f"use one of {', '.join(SINGLE_METRIC_NAMES)}"
    )


def mechanism_from_parameters(name: str, parameters: Mapping[str, float]) -> Mechanism:
    """The mechanism frozen for an account.

    Args:
        name: As stored.
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
        if name == "correlated":
            return CorrelatedGaussian(
                float(parameters["release_stddev"]),
                float(parameters["offset_stddev"]),
                int(parameters["planned_releases"]),
                float(parameters["delta"]),
            )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"an account's parameters for mechanism {name!r} are malformed", hint="run `dpdau restore`"
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
