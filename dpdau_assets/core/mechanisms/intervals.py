"""95 % intervals of released values, from the stored draw and public parameters only.

Belongs here: error of noise and of public sampling. Does not belong here: anything that looks at exact counts.
"""

from __future__ import annotations

import math

from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.sampling import Sampling

NORMAL_975 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
PROBABILITY = 0.975
"""Probability that an error lies below the upper end of an interval, and above the lower one."""
CERTAIN_DEVIATIONS = 9.0
"""No normal error is larger than this many deviations."""
NEGLIGIBLE = 1e-9
"""Probabilities of noise below this do not change a 97.5 % quantile."""
SMOOTH = 0.1
"""Smallest sampling deviation: with it, an integer number of units can still be told from the next."""
STEPS, PRECISION = 60, 1e-6


def interval_95(
    drawn: int, mechanism: Mechanism, *, threshold: int = KEY_SPACE, buckets: int | None = None
) -> tuple[int, int | None]:
    """Bounds that hold the number of distinct users with probability at least 95 %.

    Without sampling this is exact: the integers in draw +- q, q the smallest integer with Pr[|noise| <= q] >= 95 %.
    With sampling, count +- q in users, rounded outwards, with q the 97.5 % quantile of the noise plus a normal error of
    the count's sampling deviation. Under Gaussian noise that is n +- 1.96 sqrt(n (1 - theta) / theta + Var(noise) /
    theta^2) for counts of users; where sampling adds little error, it is the noise's own quantile. Both bounds are
    raised to 0 if they are below it, which never excludes the true value.

    Args:
        drawn: The noisy count, as stored, in units of the mechanism's draws.
        mechanism: What drew it.
        threshold: Users with a hash below it were counted: theta = threshold / 2^64.
        buckets: m where the buckets that they hit were counted.

    Returns:
        Lower and upper bound, in users; no upper bound where the count says nothing about it.
    """
    units, sampling = mechanism.units_per_user, Sampling(threshold, buckets)
    if sampling.is_exact:
        reach = max(mechanism.noise_quantile(PROBABILITY), units - 1)  # so that an integer number of users lies between
        return max(0, -((reach - drawn) // units)), max(0, (drawn + reach) // units)
    count = drawn / units
    reach_counts = _reach(mechanism, stddev=sampling.count_stddev(count) * units) / units
    lower, upper = sampling.users(sampling.possible(count - reach_counts)), sampling.users(count + reach_counts)
    return max(0, math.floor(lower or 0)), None if upper is None else max(0, math.ceil(upper))


def error_stddevs(
    drawn: int, mechanism: Mechanism, *, threshold: int = KEY_SPACE, buckets: int | None = None
) -> tuple[float, float]:
    """The standard deviations of the two errors of an estimate: (sampling, noise), in users.

    Args:
        drawn: The noisy count, as stored, in units of the mechanism's draws.
        mechanism: What drew it.
        threshold: Users with a hash below it were counted; at 2^64, without `buckets`, the first is 0.
        buckets: m where the buckets that they hit were counted.
    """
    count, sampling = drawn / mechanism.units_per_user, Sampling(threshold, buckets)
    users_per_count = sampling.users_per_count(count)
    return users_per_count * sampling.count_stddev(count), users_per_count * math.sqrt(mechanism.noise_variance())


def _reach(mechanism: Mechanism, *, stddev: float) -> float:
    """The 97.5 % quantile of a mechanism's noise plus an independent normal error, in units of draws.

    Args:
        mechanism: Whose exact pmf is used.
        stddev: Of the normal error, in units.
    """
    smallest, probabilities = mechanism.noise_pmf()
    noise = [(smallest + number, float(share)) for number, share in enumerate(probabilities) if share > NEGLIGIBLE]
    scale = math.sqrt(2) * max(stddev, SMOOTH)
    low, high = 0.0, noise[-1][0] + CERTAIN_DEVIATIONS * scale
    reach = NORMAL_975 * math.sqrt(stddev**2 + mechanism.noise_variance() * mechanism.units_per_user**2)
    for _ in range(STEPS):
        scaled = [(share, (reach - value) / scale) for value, share in noise]
        excess = math.fsum(share * 0.5 * math.erfc(-distance) for share, distance in scaled) - PROBABILITY
        slope = math.fsum(share * math.exp(-distance * distance) for share, distance in scaled)
        low, high = (low, reach) if excess >= 0 else (reach, high)
        newton = reach - excess * scale * math.sqrt(math.pi) / slope if slope > 0 else high
        following = newton if low <= newton <= high else (low + high) / 2
        if abs(following - reach) < PRECISION:
            break
        reach = following
    return reach
