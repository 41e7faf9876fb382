"""The discrete Gaussian mechanism: independent noise per release, (epsilon, delta)-DP, composes like sqrt(releases).

Belongs here: the mechanism. Its stddev is chosen in `calibration`, its randomness comes from `samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DpEvent
from dpdau_assets.core.mechanisms.independent import IndependentNoise
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf


@dataclass(frozen=True, slots=True)
class DiscreteGaussian(IndependentNoise):
    """Adds noise N_Z(0, stddev^2): 1 / (2 stddev^2)-concentrated DP on a count of sensitivity 1.

    Attributes:
        stddev: Parameter sigma in users, positive.
        epsilon: Loss of one draw at `delta` that the stddev was calibrated to.
        delta: In (0, 1).

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Theorem 4.
    """

    stddev: float
    epsilon: float
    delta: float

    name: ClassVar[str] = "gaussian"
    """`gaussian`."""

    @property
    def parameters(self) -> dict[str, float]:
        """`{"stddev": ..., "epsilon": ..., "delta": ...}`."""
        return {"stddev": self.stddev, "epsilon": self.epsilon, "delta": self.delta}

    def event(self) -> DpEvent:
        """The privacy event that one draw charges."""
        return DiscreteGaussianEvent(self.stddev)

    def noise(self, source: NoiseSource) -> int:
        """One draw of the noise."""
        return source.discrete_gaussian(self.stddev)

    def noise_pmf(self) -> Pmf:
        """The exact pmf of the noise."""
        return discrete_gaussian_pmf(self.stddev)
