"""The discrete Laplace mechanism: independent noise per release, pure epsilon-DP.

Belongs here: the mechanism. Its scale is chosen in `calibration`, its randomness comes from `samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpdau_assets.core.dp_events import NO_EVENTS, DiscreteLaplaceEvent, DpEvent, EventCounts
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, discrete_laplace_pmf, quantile, variance
from dpdau_assets.errors import InternalError


@dataclass(frozen=True, slots=True)
class DiscreteLaplace:
    """Adds noise with Pr[x] proportional to exp(-|x| / scale): (1 / scale)-DP on a count of sensitivity 1.

    Attributes:
        scale: Scale in users, positive.
        epsilon: Loss of one draw that the scale was calibrated to.

    Reference: Ghosh, Roughgarden, Sundararajan (2012), arXiv 0811.2841 (the geometric mechanism).
    """

    scale: float
    epsilon: float

    @property
    def delta(self) -> float:
        """0: one draw is purely epsilon-DP."""
        return 0.0

    @property
    def name(self) -> str:
        """`laplace`."""
        return "laplace"

    @property
    def parameters(self) -> dict[str, float]:
        """`{"scale": ..., "epsilon": ...}`."""
        return {"scale": self.scale, "epsilon": self.epsilon}

    def event(self) -> DpEvent:
        """The privacy event that one draw charges."""
        return DiscreteLaplaceEvent(self.scale)

    @property
    def units_per_user(self) -> int:
        """1: draws are in users."""
        return 1

    def opening(self) -> EventCounts:
        """Nothing: no two draws share any noise."""
        return NO_EVENTS

    def draw_offset(self, source: NoiseSource) -> int | None:  # noqa: ARG002 - of the protocol
        """None: no two draws share any noise."""
        return None

    def draw(self, value: int, source: NoiseSource, *, offset: int | None = None) -> int:
        """`value` plus one fresh noise."""
        if offset is not None:
            raise InternalError("independent noise was given an offset")
        return value + source.discrete_laplace(self.scale)

    def noise_pmf(self) -> Pmf:
        """The exact pmf of the noise."""
        return discrete_laplace_pmf(self.scale)

    def noise_quantile(self, probability: float) -> int:
        """Smallest integer q with Pr[noise <= q] >= probability."""
        return quantile(self.noise_pmf(), probability)

    def noise_variance(self) -> float:
        """Variance of the noise, in users squared."""
        return variance(self.noise_pmf())
