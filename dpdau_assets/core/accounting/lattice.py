"""Sums the loss of discrete Gaussian noise over its values, which gives a sharp bound without the numerical library.

Belongs here: that one bound, for the multisets of a metric's month: at most two kinds of Gaussian events, and the
search of a first threshold. It plans noise and decides about a month's last releases in milliseconds, where the
numerical accountant takes seconds to load. Does not belong here: the published bounds (`pld`), other noise.

n draws of N_Z(0, s^2) lose (n - 2 S) / (2 s^2), where S is their sum. It follows N_Z(0, n s^2) up to a factor
1 +- 4 n exp(-pi^2 s^2) of every probability, nothing in floating point from s = 2 on. So the loss of everything has
finitely many values that matter, and delta(epsilon) is a sum over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.accounting.accountant import Bound
from dpdau_assets.core.dp_events import DiscreteGaussianEvent, DpEvent, EventCounts, PureDpEvent

SMALLEST_STDDEV = 2.0
"""4 exp(-pi^2 2^2) < 3e-17."""
MOST_VALUES = 1_500_000
"""Combinations of losses that are summed; more are left to other accountants."""
LEFT_OUT = 1e-9
"""Share of delta that the omitted tails may have; the bound counts it as lost."""
SLACK = 5e-6
"""Relative addition to the result: rounding here, and what the numerical accountant rounds up, several times over."""

Losses = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Values of a loss and their probabilities; what is missing to 1 is a tail left out."""


@dataclass(frozen=True, slots=True)
class LatticeAccountant:
    """The sum over all values of the loss; nothing for events that it does not know, or too many values.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Theorem 7, for one release; Balle and Wang (2018),
        Theorem 5, for delta as a sum over the loss.
    """

    name: str = "lattice"

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """Returns the bound at `delta`; infinite where nothing is proven."""
        if not events:
            return Bound(0.0, 0.0)
        return Bound(_composed_epsilon(events, delta), delta)


@lru_cache(maxsize=4096)
def _composed_epsilon(events: EventCounts, delta: float) -> float:
    if sum(isinstance(event, DiscreteGaussianEvent) for event, _ in events) > 2:
        return math.inf
    parts = [_losses(event, count, left_out=LEFT_OUT * delta / len(events)) for event, count in events]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or math.prod(len(values) for values, _ in known) > MOST_VALUES:
        return math.inf
    values, probabilities = np.zeros(1), np.ones(1)
    for more, chances in known:
        values = np.add.outer(values, more).ravel()
        probabilities = np.multiply.outer(probabilities, chances).ravel()
    return _epsilon(values, probabilities, delta * (1 - LEFT_OUT)) * (1 + SLACK)


def _losses(event: DpEvent, count: int, *, left_out: float) -> Losses | None:
    """Returns the privacy loss of `count` equal events, without tails of at most `left_out`; None for other noise.

    A purely epsilon-DP event is at most as bad as randomised response, which loses epsilon or gains it.
    """
    if isinstance(event, PureDpEvent) and count == 1:
        chance = 1 / (1 + math.exp(-event.epsilon))
        return np.array([event.epsilon, -event.epsilon]), np.array([chance, 1 - chance])
    if not isinstance(event, DiscreteGaussianEvent) or event.l2_sensitivity != 1 or event.stddev < SMALLEST_STDDEV:
        return None
    variance = event.stddev**2
    reach = math.ceil(math.sqrt(2 * count * variance * math.log(4 / left_out))) + 1  # 2 exp(-r^2 / 2 v) <= left_out / 2
    if 2 * reach > MOST_VALUES:
        return None
    sums = np.arange(-reach, reach + 1)
    weights = np.exp(-(sums**2) / (2 * count * variance))
    return (count - 2 * sums) / (2 * variance), weights / weights.sum()


def _epsilon(values: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64], delta: float) -> float:
    """The smallest epsilon >= 0 with E[max(0, 1 - e^(epsilon - loss))] <= delta."""
    positive = values > 0
    order = np.argsort(-values[positive], kind="stable")
    values, probabilities = values[positive][order], probabilities[positive][order]
    above = np.cumsum(probabilities)
    discounted = np.cumsum(probabilities * np.exp(-values))
    deltas = above - np.exp(values) * discounted  # at epsilon just below each value, in falling order
    first = int(np.searchsorted(deltas, delta, side="right"))  # the first value at which delta is exceeded
    # below the value before it, and at or above that one, delta(epsilon) = above - e^epsilon discounted
    number = min(first, len(values)) - 1
    if number < 0:
        return float(values[0]) if len(values) else 0.0
    return max(0.0, math.log((float(above[number]) - delta) / float(discounted[number])))
