"""The joint mechanism: DAU, WAU and MAU of a day from one budget, with noise shared over the period.

Belongs here: the mechanism, its decoding and its calibration. Does not belong here: the choice of K and d
(`joint_shape`), keeping the shared noise secret (`storage`), counting.

Release t publishes b_t = K V_t + g_t + d h of the three counts V_t, with g_t ~ N_Z(0, sg^2)^3 fresh and one
h ~ N_Z(0, sh^2) for the period; the estimates are K^-1 b_t. With N the number of users
b_t = [K V_t - d N + g_t] + d [N + h]. Adding a user changes N by 1 and the first bracket by K v - d, v one of four
vectors (`joint_shape.VERTICES`), of length at most r. So the period costs one Gaussian of stddev sh for h, and
for each release one vector of stddev sg and sensitivity r, whatever the user's pattern of days, and later questions may
depend on earlier answers. It needs counts that one user moves by one of the four vectors and nothing else: exact sets,
taken at one snapshot.

With a = sqrt(T r^2 tr(K^-1 K^-T)) and b = |K^-1 d| the total standard deviation is least, (a + b) / mu, at
sg^2 = T r^2 (a + b) / (a mu^2) and sh^2 = (a + b) / (b mu^2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    EventCounts,
    VectorGaussianEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.joint_shape import IntegerRow, JointShape, joint_shape
from dpdau_assets.core.mechanisms.planning import PeriodPlan, smallest_noise_factor
from dpdau_assets.core.probability.distributions import discrete_gaussian_variance
from dpdau_assets.core.probability.gaussian_dp import gdp_epsilon
from dpdau_assets.errors import DataError, InternalError


@dataclass(frozen=True, slots=True)
class JointGaussian:
    """Draws K V + g + d h; all planned releases and the charge for h together stay within the account's cap.

    Attributes:
        shape: K and d.
        release_stddev: sg.
        offset_stddev: sh.
        planned_releases: T, for which they were chosen.
        delta: Delta at which the loss of a release is stated, in (0, 1).
    """

    shape: JointShape
    release_stddev: float
    shared_stddev: float
    planned_releases: int
    delta: float

    name: ClassVar[str] = "joint"
    """`joint`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that makes the mechanism; `joint_from_parameters` is the inverse."""
        return {
            "matrix": [list(row) for row in self.shape.matrix],
            "centre": list(self.shape.centre),
            "release_stddev": self.release_stddev,
            "offset_stddev": self.shared_stddev,
            "planned_releases": self.planned_releases,
            "delta": self.delta,
        }

    @property
    def epsilon(self) -> float:
        """Loss of one release's own event at `delta`, without the charge for the shared noise."""
        return gdp_epsilon(self.delta, mu=self.event().mu)

    def event(self) -> VectorGaussianEvent:
        """The privacy event that one release of all three charges."""
        return VectorGaussianEvent(self.release_stddev, self.shape.squared_radius)

    def shared_noise_charge(self) -> EventCounts:
        """The privacy event of the shared noise, charged with the first release that uses it."""
        return repeat_event(DiscreteGaussianEvent(self.shared_stddev), 1)

    def draw_shared_noise(self, source: NoiseSource) -> int | None:
        """h: drawn once for an account; secret for as long as it is used."""
        return source.discrete_gaussian(self.shared_stddev)

    def draw(self, counts: IntegerRow, source: NoiseSource, *, shared_noise: int | None) -> IntegerRow:
        """K V + g + d h, with g fresh.

        Args:
            counts: DAU, WAU and MAU of one day at one snapshot (sensitive).
            source: Where the randomness comes from.
            shared_noise: h, as drawn for the account (sensitive).
        """
        if shared_noise is None:
            raise InternalError("joint noise was asked for without its shared noise")
        mixed, centre = self.shape.apply(counts), self.shape.centre
        first, second, third = (
            part + source.discrete_gaussian(self.release_stddev) + direction * shared_noise
            for part, direction in zip(mixed, centre, strict=True)
        )
        return first, second, third

    def decode(self, drawn: Sequence[int]) -> tuple[float, float, float]:
        """Returns the unbiased estimates of (DAU, WAU, MAU) in one draw: K^-1 b, which may be negative."""
        first, second, third = np.linalg.solve(np.array(self.shape.matrix, dtype=np.float64), np.array(drawn, float))
        return float(first), float(second), float(third)

    def noise_stddevs(self) -> tuple[float, float, float]:
        """Standard deviations of the three estimates, in users.

        Each estimate's noise sums three discrete Gaussians on grids finer than a fiftieth of a user and a fraction of
        h, so that its law is the continuous Gaussian's for every purpose of an interval.
        """
        inverse = self.shape.inverse()
        fresh = discrete_gaussian_variance(self.release_stddev) * (inverse**2).sum(axis=1)
        shared = discrete_gaussian_variance(self.shared_stddev) * (inverse @ np.array(self.shape.centre)) ** 2
        first, second, third = np.sqrt(fresh + shared)
        return float(first), float(second), float(third)


@lru_cache(maxsize=64)
def joint_gaussian(plan: PeriodPlan) -> JointGaussian:
    """Returns the mechanism with the least total noise whose charge for h and planned releases fit the plan's cap.

    Args:
        plan: Releases (2 or more), cap and delta of the account.
    """
    shape, mu = joint_shape(plan.releases), plan.mu
    inverse = shape.inverse()
    spread = plan.releases * shape.squared_radius
    a = math.sqrt(spread * float((inverse**2).sum()))
    b = float(np.linalg.norm(inverse @ np.array(shape.centre)))
    fresh, shared = math.sqrt(spread * (a + b) / a) / mu, math.sqrt((a + b) / b) / mu

    def events_at(factor: float) -> EventCounts:
        return merge_events(
            repeat_event(VectorGaussianEvent(factor * fresh, shape.squared_radius), plan.releases),
            repeat_event(DiscreteGaussianEvent(factor * shared), 1),
        )

    factor = smallest_noise_factor(events_at, plan)
    return JointGaussian(shape, factor * fresh, factor * shared, plan.releases, plan.delta)


def joint_from_parameters(parameters: Mapping[str, Any]) -> JointGaussian:
    """The mechanism frozen for an account.

    Args:
        parameters: As stored: `JointGaussian.parameters`.

    Raises:
        DataError: They do not describe a mechanism.
    """
    try:
        first, second, third = (_integers(row) for row in parameters["matrix"])
        return JointGaussian(
            JointShape((first, second, third), _integers(parameters["centre"])),
            float(parameters["release_stddev"]),
            float(parameters["offset_stddev"]),
            int(parameters["planned_releases"]),
            float(parameters["delta"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "an account's parameters for mechanism 'joint' are malformed", hint="run `dpdau restore`"
        ) from error


def _integers(values: Sequence[Any]) -> IntegerRow:
    first, second, third = (int(value) for value in values)
    return first, second, third
