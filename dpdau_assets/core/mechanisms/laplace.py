"""The discrete Laplace mechanism: independent noise per release, pure epsilon-DP.

Belongs here: the mechanism. Its scale is chosen in `calibration`, its randomness comes from `samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dpdau_assets.core.dp_events import DiscreteLaplaceEvent, DpEvent
from dpdau_assets.core.mechanisms.independent import IndependentNoise
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, discrete_laplace_pmf


@dataclass(frozen=True, slots=True)
class DiscreteLaplace(IndependentNoise):
    """Adds noise with Pr[x] proportional to exp(-|x| / scale): (1 / scale)-DP on a count of sensitivity 1.

    Attributes:
        scale: Scale in users, positive.
        epsilon: Loss of one draw that the scale was calibrated to.

    Reference: Ghosh, Roughgarden, Sundararajan (2012), arXiv 0811.2841 (the geometric mechanism).
    """

    scale: float
    epsilon: float

    delta: ClassVar[float] = 0.0
    """0: one draw is purely epsilon-DP."""

    name: ClassVar[str] = "laplace"
    """`laplace`."""

    @property
    def parameters(self) -> dict[str, float]:
        """`{"scale": ..., "epsilon": ...}`."""
        return {"scale": self.scale, "epsilon": self.epsilon}

    def event(self) -> DpEvent:
        """The privacy event that one draw charges."""
        return DiscreteLaplaceEvent(self.scale)

    def noise(self, source: NoiseSource) -> int:
        """One draw of the noise."""
        return source.discrete_laplace(self.scale)

    def noise_pmf(self) -> Pmf:
        """The exact pmf of the noise."""
        return discrete_laplace_pmf(self.scale)
