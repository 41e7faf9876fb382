"""The two noise distributions as exact numbers: pmf, quantile, variance, hockey-stick divergence.

Belongs here: what is known of discrete Gaussian and discrete Laplace noise without drawing any. Does not belong here:
sampling (`samplers`) and choosing a scale (`calibration`).

Each pmf ends where the remaining tails are under 1e-30 together, far below any delta in use, and sums to 1 within
a few units of rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Pmf: TypeAlias = tuple[int, npt.NDArray[np.float64]]
"""(smallest value, float64[n] of probabilities of the consecutive integers from it); read-only."""

GAUSSIAN_REACH = 12
"""Standard deviations kept on either side: exp(-12^2 / 2) < 1e-31."""
LAPLACE_REACH = 75
"""Scales kept on either side: exp(-75) < 1e-32."""
SMOOTH_STDDEV = 4.0
"""From here on the variance of discrete Gaussian noise is its parameter squared to any precision of a float."""
RELATIVE_TOLERANCE = 1e-13
"""Where a search for a boundary stops; the side that satisfies the condition is returned."""


@lru_cache(maxsize=16)
def discrete_gaussian_pmf(stddev: float) -> Pmf:
    """The pmf of N_Z(0, stddev^2): Pr[x] proportional to exp(-x^2 / (2 stddev^2)).

    Args:
        stddev: Parameter sigma in users, positive; public.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Definition 1.
    """
    reach = math.ceil(GAUSSIAN_REACH * stddev) + 1
    values = np.arange(-reach, reach + 1, dtype=np.float64)
    return _normalised(reach, np.exp(-0.5 * (values / stddev) ** 2))


@lru_cache(maxsize=16)
def discrete_laplace_pmf(scale: float) -> Pmf:
    """The pmf of discrete Laplace noise: Pr[x] proportional to exp(-|x| / scale).

    Args:
        scale: Scale in users, positive; public.
    """
    reach = math.ceil(LAPLACE_REACH * scale) + 1
    values = np.arange(-reach, reach + 1, dtype=np.float64)
    return _normalised(reach, np.exp(-np.abs(values) / scale))


def _normalised(reach: int, weights: npt.NDArray[np.float64]) -> Pmf:
    probabilities = weights / math.fsum(weights)
    probabilities.flags.writeable = False
    return -reach, probabilities


def quantile(pmf: Pmf, probability: float) -> int:
    """Smallest q with Pr[noise <= q] >= probability.

    Args:
        pmf: Distribution of the noise.
        probability: In (0, 1).
    """
    smallest, probabilities = pmf
    position = int(np.searchsorted(np.cumsum(probabilities), probability))
    return smallest + min(position, len(probabilities) - 1)


def variance(pmf: Pmf) -> float:
    """Variance of noise that is symmetric about 0, in users squared."""
    smallest, probabilities = pmf
    values = np.arange(smallest, smallest + len(probabilities), dtype=np.float64)
    return float(np.dot(probabilities, values**2))


def discrete_gaussian_variance(stddev: float) -> float:
    """Variance of N_Z(0, stddev^2), in users squared: summed where the lattice shows, stddev^2 where it cannot.

    Args:
        stddev: Parameter sigma in users, positive; public.

    Reference: Canonne, Kamath, Steinke (2020), Proposition 21: at sigma of 4 the two differ by less than 1e-100.
    """
    return stddev**2 if stddev >= SMOOTH_STDDEV else variance(discrete_gaussian_pmf(stddev))


def discrete_gaussian_delta(epsilon: float, *, stddev: float, l2_sensitivity: int = 1) -> float:
    """Smallest delta for which one discrete Gaussian release is (epsilon, delta)-DP: its hockey-stick divergence.

    With X the noise and s the sensitivity, the loss at x is L(x) = (s^2 - 2 x s) / (2 sigma^2), decreasing in x, and
    delta = sum over L(x) > epsilon of Pr[x] (1 - exp(epsilon - L(x))). Both directions of the neighbouring relation
    give the same value by symmetry.

    Args:
        epsilon: Loss, >= 0.
        stddev: Parameter sigma in users, positive; public.
        l2_sensitivity: Largest change of the count by one user, a positive integer.

    Reference: Canonne, Kamath, Steinke (2020), Theorem 7; Balle and Wang (2018), Theorem 5 for the general form.
    """
    smallest, probabilities = discrete_gaussian_pmf(stddev)
    last = math.ceil(l2_sensitivity / 2 - epsilon * stddev**2 / l2_sensitivity)
    size = min(last - smallest + 1, len(probabilities))
    if size <= 0:
        return 0.0
    values = np.arange(smallest, smallest + size, dtype=np.float64)
    losses = (l2_sensitivity**2 - 2 * values * l2_sensitivity) / (2 * stddev**2)
    return float(np.dot(probabilities[:size], np.maximum(0.0, -np.expm1(epsilon - losses))))


@lru_cache(maxsize=4096)
def discrete_gaussian_epsilon(delta: float, *, stddev: float, l2_sensitivity: int = 1) -> float:
    """Smallest epsilon, rounded up, for which one discrete Gaussian release is (epsilon, delta)-DP.

    Args:
        delta: In (0, 1), well above 1e-30.
        stddev: Parameter sigma in users, positive; public.
        l2_sensitivity: Largest change of the count by one user, a positive integer.
    """
    if discrete_gaussian_delta(0.0, stddev=stddev, l2_sensitivity=l2_sensitivity) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while discrete_gaussian_delta(high, stddev=stddev, l2_sensitivity=l2_sensitivity) > delta:
        low, high = high, 2 * high
    return smallest_satisfying(
        lambda epsilon: discrete_gaussian_delta(epsilon, stddev=stddev, l2_sensitivity=l2_sensitivity) <= delta,
        low=low,
        high=high,
    )


def smallest_satisfying(condition: Callable[[float], bool], *, low: float, high: float) -> float:
    """A point that satisfies the condition, within a relative 1e-13 of one that does not.

    Args:
        condition: False at `low`, True at `high`; with one boundary between them, that boundary is found.
        low: At or below the boundary, >= 0.
        high: At or above the boundary.
    """
    while high - low > RELATIVE_TOLERANCE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if condition(middle) else (middle, high)
    return high
