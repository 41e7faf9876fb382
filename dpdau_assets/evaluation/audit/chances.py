"""The few probabilities that audits judge by, computed exactly.

Belongs here: tails of the chi-squared, normal and binomial laws, pure functions of numbers. Nothing about privacy.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

NORMAL = NormalDist()
BISECTIONS = 60


def chi_squared_tail(statistic: float, *, degrees: int) -> float:
    """Pr[X >= statistic] for a chi-squared X.

    Args:
        statistic: >= 0.
        degrees: Degrees of freedom, at least 1.
    """
    half, odd = statistic / 2, degrees % 2
    if half <= 0:
        return 1.0
    powers = [k + odd / 2 for k in range(degrees // 2)]
    terms = [math.exp(-half + power * math.log(half) - math.lgamma(power + 1)) for power in powers]
    return min(1.0, math.fsum([odd * math.erfc(math.sqrt(half)), *terms]))


def normal_tail(score: float) -> float:
    """Pr[|Z| >= |score|] for a standard normal Z."""
    return math.erfc(abs(score) / math.sqrt(2))


def binomial_lower(successes: int, trials: int, *, alpha: float) -> float:
    """The Clopper-Pearson lower bound: the true chance lies below it with probability at most `alpha`.

    Args:
        successes: 0 to `trials`.
        trials: At least 1.
        alpha: In (0, 1).

    Reference: Clopper and Pearson (1934).
    """
    if successes == 0:
        return 0.0
    low, high = 0.0, successes / trials
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _binomial_tail(successes, trials, chance=middle) > alpha:
            high = middle
        else:
            low = middle
    return low


def binomial_upper(successes: int, trials: int, *, alpha: float) -> float:
    """The Clopper-Pearson upper bound, likewise."""
    return 1.0 - binomial_lower(trials - successes, trials, alpha=alpha)


def _binomial_tail(successes: int, trials: int, *, chance: float) -> float:
    """Pr[X >= successes], X binomial."""
    if chance <= 0.0:
        return 0.0
    counts = np.arange(successes, trials + 1)
    logs = _log_choose(trials)[successes:] + counts * math.log(chance) + (trials - counts) * math.log1p(-chance)
    return min(1.0, float(np.exp(logs).sum()))


def _log_choose(trials: int) -> npt.NDArray[np.float64]:
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1)))))
    logs: npt.NDArray[np.float64] = factorials[trials] - factorials - factorials[::-1]
    return logs
