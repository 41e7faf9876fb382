"""The correlated Gaussian mechanism for one metric and period: half of the noise is shared between its days.

Belongs here: the mechanism and its calibration. Does not belong here: keeping the shared noise secret (`storage`).

Release t publishes b_t = 2 X_t + g_t + h with g_t ~ N_Z(0, sg^2) fresh and h ~ N_Z(0, sh^2) drawn once; the estimate is
b_t / 2. With N the number of users (never computed) b_t = [2 X_t - N + g_t] + [N + h]. Adding a user changes N by 1 and
each first bracket by |2 x_t - 1| = 1, whatever the days x_t on which the user counts. So the period costs one Gaussian
of stddev sh for h, and one of stddev sg for each release, all of sensitivity 1, and later questions may depend
on earlier answers. It holds for a period opened in its middle, for missing days, revisions, erasures and late data, as
long as each X_t changes by 0 or 1 with one user.

With rho = T / (2 sg^2) + 1 / (2 sh^2) the standard deviation is least at sg^2 = (T + sqrt T) / (2 rho) and
sh^2 = (1 + sqrt T) / (2 rho): (1 + sqrt T) / (2 mu) users, where independent noise needs sqrt T / mu.

Reference: Lebeda (2025), "Better Gaussian mechanism using correlated noise", SOSA 2025, arXiv 2408.06853.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DpEvent, EventCounts, merge_events, repeat_event
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.planning import PeriodPlan, smallest_noise_factor
from dpdau_assets.core.probability.distributions import (
    Pmf,
    discrete_gaussian_epsilon,
    discrete_gaussian_pmf,
    discrete_gaussian_variance,
    quantile,
)
from dpdau_assets.errors import InternalError

UNITS_PER_USER = 2
DIRECT_CONVOLUTION = 10**9
"""Products of sizes above this are convolved by Fourier transform, whose error of 1e-16 changes no quantile."""


@dataclass(frozen=True, slots=True)
class CorrelatedGaussian:
    """Draws 2 value + g + h; all planned releases and the charge for h together stay within the account's cap.

    Attributes:
        release_stddev: sg, in half users.
        offset_stddev: sh, in half users.
        planned_releases: T, for which the two were chosen.
        delta: Delta at which the loss of a release is stated, in (0, 1).
    """

    release_stddev: float
    shared_stddev: float
    planned_releases: int
    delta: float

    name: ClassVar[str] = "correlated"
    """`correlated`."""

    @property
    def parameters(self) -> dict[str, float]:
        """`{"release_stddev": ..., "offset_stddev": ..., "planned_releases": ..., "delta": ...}`."""
        return {
            "release_stddev": self.release_stddev,
            "offset_stddev": self.shared_stddev,
            "planned_releases": self.planned_releases,
            "delta": self.delta,
        }

    @property
    def epsilon(self) -> float:
        """Loss of one release's own event at `delta`, without the charge for the shared noise."""
        return discrete_gaussian_epsilon(self.delta, stddev=self.release_stddev)

    units_per_user: ClassVar[int] = UNITS_PER_USER
    """2: draws are in half users."""

    def event(self) -> DpEvent:
        """The privacy event that one release charges."""
        return DiscreteGaussianEvent(self.release_stddev)

    def shared_noise_charge(self) -> EventCounts:
        """The privacy event of the shared noise, charged with the first release that uses it."""
        return repeat_event(DiscreteGaussianEvent(self.shared_stddev), 1)

    def draw_shared_noise(self, source: NoiseSource) -> int | None:
        """h: drawn once for an account; secret for as long as it is used."""
        return source.discrete_gaussian(self.shared_stddev)

    def draw(self, value: int, source: NoiseSource, *, shared_noise: int | None = None) -> int:
        """2 value + g + h, with g fresh."""
        if shared_noise is None:
            raise InternalError("correlated noise was asked for without its shared noise")
        return UNITS_PER_USER * value + source.discrete_gaussian(self.release_stddev) + shared_noise

    def noise_pmf(self) -> Pmf:
        """The exact pmf of g + h, in half users."""
        return sum_pmf(self.release_stddev, self.shared_stddev)

    def noise_quantile(self, probability: float) -> int:
        """Smallest integer q with Pr[g + h <= q] >= probability, in half users."""
        return quantile(self.noise_pmf(), probability)

    def noise_variance(self) -> float:
        """Variance of (g + h) / 2, in users squared."""
        fresh, shared = map(discrete_gaussian_variance, (self.release_stddev, self.shared_stddev))
        return (fresh + shared) / UNITS_PER_USER**2


@lru_cache(maxsize=64)
def correlated_gaussian(plan: PeriodPlan) -> CorrelatedGaussian:
    """Returns the mechanism with the least noise whose charge for h and planned releases fit the plan's cap.

    The optimum of continuous noise, times the smallest factor whose discrete loss fits.

    Args:
        plan: Releases, cap and delta of the account.
    """
    root, mu = math.sqrt(plan.releases), plan.mu
    fresh, shared = math.sqrt(plan.releases + root) / mu, math.sqrt(1 + root) / mu

    def events_at(factor: float) -> EventCounts:
        return merge_events(
            repeat_event(DiscreteGaussianEvent(factor * fresh), plan.releases),
            repeat_event(DiscreteGaussianEvent(factor * shared), 1),
        )

    factor = smallest_noise_factor(events_at, plan)
    return CorrelatedGaussian(factor * fresh, factor * shared, plan.releases, plan.delta)


@lru_cache(maxsize=32)
def sum_pmf(first_stddev: float, second_stddev: float) -> Pmf:
    """The pmf of the sum of two independent discrete Gaussians."""
    (first_smallest, first), (second_smallest, second) = map(discrete_gaussian_pmf, (first_stddev, second_stddev))
    if len(first) * len(second) <= DIRECT_CONVOLUTION:
        summed = np.convolve(first, second)
    else:
        size = len(first) + len(second) - 1
        product = np.fft.rfft(first, size) * np.fft.rfft(second, size)
        summed = np.maximum(np.fft.irfft(product, size), 0.0)
    probabilities = summed / math.fsum(summed)
    probabilities.flags.writeable = False
    return first_smallest + second_smallest, probabilities
