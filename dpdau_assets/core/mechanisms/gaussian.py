"""The discrete Gaussian mechanism: independent noise per release, (epsilon, delta)-DP, composes like sqrt(releases).

Belongs here: the mechanism. Its stddev is chosen in `calibration`, its randomness comes from `samplers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpdau_assets.core.dp_events import NO_EVENTS, DiscreteGaussianEvent, DpEvent, EventCounts
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf, quantile, variance
from dpdau_assets.errors import InternalError


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
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

    @property
    def name(self) -> str:
        """`gaussian`."""
        return "gaussian"

    @property
    def parameters(self) -> dict[str, float]:
        """`{"stddev": ..., "epsilon": ..., "delta": ...}`."""
        return {"stddev": self.stddev, "epsilon": self.epsilon, "delta": self.delta}

    def event(self) -> DpEvent:
        """The privacy event that one draw charges."""
        return DiscreteGaussianEvent(self.stddev)

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
        return value + source.discrete_gaussian(self.stddev)

    def noise_pmf(self) -> Pmf:
        """The exact pmf of the noise."""
        return discrete_gaussian_pmf(self.stddev)

    def noise_quantile(self, probability: float) -> int:
        """Smallest integer q with Pr[noise <= q] >= probability."""
        return quantile(self.noise_pmf(), probability)

    def noise_variance(self) -> float:
        """Variance of the noise, in users squared."""
        return variance(self.noise_pmf())
