"""Basic composition: the sum of the losses, each at an equal share of delta.

Belongs here: the loss of one event, and their sum. The weakest bound, and the tightest for one release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dpdau_assets.core.accounting.accountant import Bound
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    VectorGaussianEvent,
)
from dpdau_assets.core.probability.distributions import discrete_gaussian_epsilon
from dpdau_assets.core.probability.gaussian_dp import gdp_epsilon


def event_epsilon(event: DpEvent, *, delta: float) -> float:
    """Smallest epsilon proven for one event at `delta`; events that are purely epsilon-DP do not use the delta.

    Args:
        event: What was released.
        delta: In (0, 1).
    """
    if isinstance(event, DiscreteGaussianEvent):
        return discrete_gaussian_epsilon(delta, stddev=event.stddev, l2_sensitivity=event.l2_sensitivity)
    if isinstance(event, VectorGaussianEvent):
        return gdp_epsilon(delta, mu=event.mu)
    if isinstance(event, DiscreteLaplaceEvent):
        return event.l1_sensitivity / event.scale
    return event.epsilon


def deltas_needed(events: EventCounts) -> int:
    """How many of the events need a share of delta (are not purely epsilon-DP)."""
    return sum(count for event, count in events if isinstance(event, DiscreteGaussianEvent | VectorGaussianEvent))


@dataclass(frozen=True, slots=True)
class NaiveAccountant:
    """Sum of the events' losses, each stated at delta / n, n the number of events that need a delta.

    Reference: Dwork and Roth (2014), Theorem 3.16.
    """

    name: str = "naive"

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """The bound at `delta`; at delta 0 when every event is purely epsilon-DP."""
        shares = deltas_needed(events)
        share = delta / max(1, shares)
        total = math.fsum(count * event_epsilon(event, delta=share) for event, count in events)
        return Bound(total, delta if shares else 0.0)
