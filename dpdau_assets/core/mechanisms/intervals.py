"""95 % intervals of released values, from the stored draw and public parameters only.

Belongs here: error of noise and of public sampling. Does not belong here: anything that looks at exact counts.
"""

from __future__ import annotations

import math

from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.sketches.protocol import KEY_SPACE

NORMAL_975 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def interval_95(drawn: int, mechanism: Mechanism, *, threshold: int = KEY_SPACE) -> tuple[int, int]:
    """Bounds that hold the number of distinct users with probability at least 95 %.

    Without sampling (threshold 2^64) exactly so: the whole users in draw +- q, q the smallest integer for which
    Pr[|noise| <= q] >= 95 %. With sampling by the normal approximation n +- 1.96 sqrt(n (1 - theta) / theta +
    Var(noise) / theta^2), rounded outwards; its error is that of a binomial with about k trials. Both are cut at 0,
    which never loses the true value.

    Args:
        drawn: The noisy count, as stored, in units of the mechanism's draws.
        mechanism: What drew it.
        threshold: Keys below it were counted: theta = threshold / 2^64.

    Returns:
        Lower and upper bound, in users.
    """
    if threshold == KEY_SPACE:
        units = mechanism.units_per_user
        reach = max(mechanism.noise_quantile(0.975), units - 1)  # so that a whole number of users lies between
        return max(0, -((reach - drawn) // units)), max(0, (drawn + reach) // units)
    centre = drawn / mechanism.units_per_user / (threshold / KEY_SPACE)
    reach_users = NORMAL_975 * math.hypot(*error_stddevs(drawn, mechanism, threshold=threshold))
    return max(0, math.floor(centre - reach_users)), max(0, math.ceil(centre + reach_users))


def error_stddevs(drawn: int, mechanism: Mechanism, *, threshold: int = KEY_SPACE) -> tuple[float, float]:
    """The standard deviations of the two errors of an estimate: (sampling, noise), in users.

    Args:
        drawn: The noisy count, as stored.
        mechanism: What drew it.
        threshold: Keys below it were counted; sampling error is 0 at 2^64.

    Reference: keys are uniform, so the kept ones are Binomial(n, theta) and Var(kept / theta) = n (1 - theta) / theta.
    """
    theta = threshold / KEY_SPACE
    users = max(0.0, drawn / mechanism.units_per_user / theta)
    return math.sqrt(users * (1 - theta) / theta), math.sqrt(mechanism.noise_variance()) / theta
