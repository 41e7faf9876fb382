"""The few probabilities that audits judge by, computed exactly.

Belongs here: tails of the chi-squared, normal and binomial laws, pure functions of numbers. Nothing about privacy.
scipy is loaded when one of them is asked for.
"""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()


def chi_squared_tail(statistic: float, *, degrees: int) -> float:
    """Pr[X >= statistic] for a chi-squared X.

    Args:
        statistic: >= 0.
        degrees: Degrees of freedom, at least 1.
    """
    from scipy.special import chdtrc

    return float(chdtrc(degrees, statistic))


def normal_tail(score: float) -> float:
    """Pr[|Z| >= |score|] for a standard normal Z."""
    return math.erfc(abs(score) / math.sqrt(2))


def binomial_lower(successes: int, trials: int, *, alpha: float) -> float:
    """The Clopper-Pearson lower bound: the true chance lies below it with probability at most `alpha`.

    Args:
        successes: 0 to `trials`.
        trials: At least 1.
        alpha: In (0, 1).

    Reference: Clopper and Pearson (1934), by the quantiles of the beta distribution.
    """
    from scipy.special import betaincinv

    return float(betaincinv(successes, trials - successes + 1, alpha)) if successes else 0.0


def binomial_upper(successes: int, trials: int, *, alpha: float) -> float:
    """The Clopper-Pearson upper bound, likewise."""
    return 1.0 - binomial_lower(trials - successes, trials, alpha=alpha)
