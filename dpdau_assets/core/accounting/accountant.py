"""Defines a bound, and the protocol of the accountants that compute one.

Belongs here: the pair (epsilon, delta) and the protocol of an accountant. Does not belong here: any bound itself
(`naive`, `advanced`, `rdp`, `pld`), nor the choice between them (`snapshot`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dpdau_assets.core.dp_events import EventCounts


@dataclass(frozen=True, slots=True)
class Bound:
    """A proven statement: the composed releases are (epsilon, delta)-DP.

    Attributes:
        epsilon: Upper bound of the loss, >= 0; infinite when nothing was proven.
        delta: Probability with which the loss may exceed epsilon, in [0, 1).
    """

    epsilon: float
    delta: float

    def to_json(self) -> dict[str, float]:
        """The pair as published."""
        return {"epsilon": self.epsilon, "delta": self.delta}


class Accountant(Protocol):
    """A pure function from a multiset of events to a bound."""

    @property
    def name(self) -> str:
        """Key of the bound in a budget snapshot: `naive`, `advanced`, `rdp` or `pld`."""

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """Returns an upper bound of the composed loss; epsilon is 0 for no events.

        Args:
            events: What was released.
            delta: The delta to state the bound at, in (0, 1). The bound's own delta may be smaller or, for an
                accountant with a fixed share, larger: such a bound does not hold at `delta` and is not used there.
        """
