"""Gaussian differential privacy: the one-number measure in which continuous Gaussian noise composes exactly.

Belongs here: conversion between mu and (epsilon, delta). Does not belong here: what an event's mu is (`dp_events`), nor
any noise on integers, whose divergence differs by the lattice (`distributions`).

Reference: Dong, Roth, Su (2022), "Gaussian differential privacy".
"""

from __future__ import annotations

import math
from functools import lru_cache

from dpdau_assets.core.probability.distributions import smallest_satisfying


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


@lru_cache(maxsize=256)
def gdp_epsilon(delta: float, *, mu: float) -> float:
    """Smallest epsilon, rounded up, at which a mu-GDP mechanism is (epsilon, delta)-DP.

    Args:
        delta: In (0, 1).
        mu: As in `gdp_delta`.
    """
    if gdp_delta(0.0, mu=mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gdp_delta(high, mu=mu) > delta:
        low, high = high, 2 * high
    return smallest_satisfying(lambda epsilon: gdp_delta(epsilon, mu=mu) <= delta, low=low, high=high)
