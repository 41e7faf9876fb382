"""The common part of both mechanisms of independent noise, in which no two draws have any noise in common.

Belongs here: the parts of `Mechanism` that follow from independence and from the pmf of one draw. Does not belong here:
the law of the noise (`gaussian`, `laplace`).
"""

from __future__ import annotations

from typing import ClassVar

from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, quantile, variance
from dpdau_assets.errors import InternalError


class IndependentNoise:
    """A mechanism whose every draw is `value` plus one fresh noise, in users."""

    __slots__ = ()

    def noise(self, source: NoiseSource) -> int:
        """One noise."""
        raise NotImplementedError

    def noise_pmf(self) -> Pmf:
        """The exact pmf of the noise."""
        raise NotImplementedError

    units_per_user: ClassVar[int] = 1
    """1: draws are in users."""

    def shared_noise_charge(self) -> EventCounts:
        """Nothing: no two draws share any noise."""
        return NO_EVENTS

    def draw_shared_noise(self, source: NoiseSource) -> int | None:  # noqa: ARG002 - of the protocol
        """None: no two draws share any noise."""
        return None

    def draw(self, value: int, source: NoiseSource, *, shared_noise: int | None = None) -> int:
        """`value` plus one fresh noise."""
        if shared_noise is not None:
            raise InternalError("independent noise was given shared noise")
        return value + self.noise(source)

    def noise_quantile(self, probability: float) -> int:
        """Smallest integer q with Pr[noise <= q] >= probability."""
        return quantile(self.noise_pmf(), probability)

    def noise_variance(self) -> float:
        """Variance of the noise, in users squared."""
        return variance(self.noise_pmf())
