"""Gaussian differential privacy: a closed form for multisets of Gaussian events, which is cheap and nearly exact.

Belongs here: that one bound. It decides most releases of a Gaussian month without the numerical accountant; it is not
among the bounds of a budget snapshot, which the numerical one nearly always undercuts.

Discrete Gaussian noise of variance sigma^2 is, up to a factor 1 +- 1e-12 of every probability, continuous noise of
variance sigma^2 - 1.5 rounded at random, hence at least as private as that; continuous noise composes exactly.

Whatever is epsilon-DP is mu-Gaussian private with mu = 2 Phi^-1(e^epsilon / (1 + e^epsilon)): the trade-off of false
alarms and misses under randomised response is two straight lines, that under mu is convex, and both pass through their
ends and through the point where the two errors are equal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from dpdau_assets.core.accounting.accountant import Bound
from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DpEvent, EventCounts, PureDpEvent, VectorGaussianEvent
from dpdau_assets.core.probability.gaussian_dp import gdp_epsilon

ROUNDING_VARIANCE = 1.5
"""2 exp(-2 pi^2 1.5) < 3e-13: how far rounding with this variance is from the exact law, relatively."""
SLACK_PER_EVENT = 1e-11
"""The allowance for this in epsilon, and relatively in delta, for each event: thirty times the largest error."""


@dataclass(frozen=True, slots=True)
class GdpAccountant:
    """The composition by the root of the sum of squared mu, of Gaussian events and searches; nothing for other events.

    Reference: Dong, Roth, Su (2022), "Gaussian differential privacy", Corollary 3.3; Peikert (2010), "An efficient and
        parallel Gaussian sampler for lattices", Theorem 3.1, for the rounding.
    """

    name: str = "gdp"

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """Returns the bound at `delta`; infinite if an event is of another kind, or its noise is too small to round."""
        if not events:
            return Bound(0.0, 0.0)
        squared_mu = math.fsum(count * _squared_mu(event) for event, count in events)
        if not math.isfinite(squared_mu):
            return Bound(math.inf, delta)
        slack = SLACK_PER_EVENT * sum(count for _, count in events)
        return Bound(gdp_epsilon(delta * (1 - slack), mu=math.sqrt(squared_mu)) + slack, delta)


def _squared_mu(event: DpEvent) -> float:
    if isinstance(event, VectorGaussianEvent):
        return event.mu**2
    if isinstance(event, PureDpEvent):
        return (2 * NormalDist().inv_cdf(1 / (1 + math.exp(-event.epsilon)))) ** 2 * (1 + SLACK_PER_EVENT)
    if isinstance(event, DiscreteGaussianEvent) and event.stddev**2 > ROUNDING_VARIANCE:
        return event.l2_sensitivity**2 / (event.stddev**2 - ROUNDING_VARIANCE)
    return math.inf
