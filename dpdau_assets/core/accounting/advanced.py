"""Advanced composition: the bound grows with the root of the summed squared losses, for a slack in delta fixed before.

Belongs here: that one bound. It is kept because the operators' procedures name it; RDP and PLD are tighter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dpdau_assets.core.accounting.accountant import Bound
from dpdau_assets.core.accounting.naive import deltas_needed, event_epsilon
from dpdau_assets.core.dp_events import EventCounts


@dataclass(frozen=True, slots=True)
class AdvancedAccountant:
    """Heterogeneous advanced composition with slack delta'.

    epsilon = sum e_i (exp(e_i) - 1) / (exp(e_i) + 1) + sqrt(2 ln(1 / delta') sum e_i^2), with each e_i stated at
    delta_i = (delta - delta') / n, n the number of events that need a delta.

    Attributes:
        slack: delta', in (0, 1); setting ADVANCED_DELTA. When it is not below the delta asked for, nothing is proven at
            that delta and the bound carries the larger one.

    Reference: Kairouz, Oh, Viswanath (2017), arXiv 1311.0776, Theorem 3.5.
    """

    slack: float
    name: str = "advanced"

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """The bound at delta' plus the events' shares, at most `delta` if the slack is below it."""
        if not events:
            return Bound(0.0, 0.0)
        shares = deltas_needed(events)
        for_events = delta - self.slack if self.slack < delta else delta
        share = for_events / max(1, shares)
        losses = [(event_epsilon(event, delta=share), count) for event, count in events]
        drift = math.fsum(count * loss * math.tanh(loss / 2) for loss, count in losses)
        squares = math.fsum(count * loss**2 for loss, count in losses)
        epsilon = drift + math.sqrt(2 * math.log(1 / self.slack) * squares)
        total_delta = (delta if self.slack < delta else self.slack + delta) if shares else self.slack
        return Bound(epsilon, total_delta)
