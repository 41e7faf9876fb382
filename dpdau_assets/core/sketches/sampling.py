"""The arithmetic of sampling, without noise: what a released count counts, and how many users it stands for.

Belongs here: for a count c made below a public threshold (theta = threshold / 2^64), the number of users it stands for
and the error of that number from sampling alone. Noise belongs to `core.mechanisms`, the choice of the threshold to
`core.release`. Everything is public: it is applied to counts after their noise.

Two kinds of count. `set`, `kmv` and `theta` count users below the threshold: c ~ Binomial(n, theta), n = c / theta.
`hll` counts, of m buckets, those that such users hit: with load x = n theta / m the expectation is m (1 - e^-x), so
n = -(m / theta) ln(1 - c/m), and Var(c) = m e^-x (1 - e^-x - x theta e^-x) as every user hits one bucket or none.

Reference: Whang, Vander-Zanden, Taylor (1990), "A linear-time probabilistic counting algorithm", equations 8 and A.6,
here with a share theta of the users thrown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dpdau_assets.core.sketches.protocol import KEY_SPACE


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a count was made. All of it is public.

    Attributes:
        threshold: Users with a hash below it were counted, 1 to 2^64.
        buckets: m if the buckets that these users hit were counted (`hll`), None if the users were.
    """

    threshold: int = KEY_SPACE
    buckets: int | None = None

    @property
    def theta(self) -> float:
        """The share of users that was looked at."""
        return self.threshold / KEY_SPACE

    @property
    def is_exact(self) -> bool:
        """Returns whether the count is the number of users, with no error from sampling."""
        return self.threshold == KEY_SPACE and self.buckets is None

    def users(self, count: float) -> float | None:
        """The users that a count stands for; below 0 for a count below 0, None when every bucket is hit or more.

        Args:
            count: After its noise; it may lie below 0 or above m.
        """
        if self.buckets is None:
            return count / self.theta
        if count >= self.buckets:
            return None
        return -self.buckets * math.log1p(-count / self.buckets) / self.theta

    def count_stddev(self, count: float) -> float:
        """Standard deviation of the count from sampling, taking the count itself for its expectation.

        Args:
            count: After its noise; what lies below 0 or at m or above is taken to the nearest possible.
        """
        if self.buckets is None:
            return math.sqrt(max(0.0, count) * (1 - self.theta))
        empty = 1 - self.possible(count) / self.buckets
        load = -math.log(empty)
        return math.sqrt(max(0.0, self.buckets * empty * (1 - empty - load * self.theta * empty)))

    def users_per_count(self, count: float) -> float:
        """How many users one more in the count stands for: the factor from an error of the count to one in users."""
        if self.buckets is None:
            return 1 / self.theta
        return 1 / (self.theta * (1 - self.possible(count) / self.buckets))

    def possible(self, count: float) -> float:
        """The nearest count at or above 0 that leaves a bucket empty."""
        return max(0.0, count) if self.buckets is None else min(max(0.0, count), self.buckets - 1.0)
