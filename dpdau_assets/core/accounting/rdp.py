"""Renyi differential privacy: losses add up order by order, so the loss of a year is a sum of vectors.

Belongs here: closed forms of our events, the conversion to (epsilon, delta), the bound over every trailing window. The
module needs only numpy, so that every process can afford this bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.accounting.accountant import Bound
from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    VectorGaussianEvent,
)

DEFAULT_ORDERS = (2.0, 4.0, 8.0, 16.0, 32.0)
"""The orders of the setting RDP_ORDERS."""
FINE_ORDERS = (1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)
"""Orders added to RDP_ORDERS: a year's loss is large, and there the best order lies between 2 and 4."""
TRAILING_DAYS = 365


def trailing_orders(orders: Sequence[float]) -> tuple[float, ...]:
    """The orders at which a year or more is bounded, where its cap is enforced and where the loss is shown.

    Args:
        orders: Orders of the setting RDP_ORDERS.
    """
    return tuple(sorted({*orders, *FINE_ORDERS}))


def event_rdp(event: DpEvent, orders: Sequence[float]) -> npt.NDArray[np.float64]:
    """Renyi divergence bound of one event at each order: float64[n_orders].

    Discrete Gaussian, vectors too: alpha s^2 / (2 sigma^2), an upper bound exact up to exp(-2 pi^2 sigma^2). Anything
    epsilon-DP: the divergence of randomised response, which dominates it; for discrete Laplace noise on a count of
    sensitivity 1 that is the exact value, because its loss is +-epsilon and nothing between.

    Args:
        event: What was released.
        orders: Orders alpha, each above 1.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Theorem 4; Mironov (2017), arXiv 1702.07476,
        Proposition 5.
    """
    alpha = np.asarray(orders, dtype=np.float64)
    if isinstance(event, DiscreteGaussianEvent):
        zcdp = event.l2_sensitivity**2 / (2 * event.stddev**2)
        gaussian: npt.NDArray[np.float64] = alpha * zcdp
        return gaussian
    if isinstance(event, VectorGaussianEvent):
        vector: npt.NDArray[np.float64] = alpha * (event.squared_sensitivity / (2 * event.stddev**2))
        return vector
    if isinstance(event, DiscreteLaplaceEvent):
        return _randomised_response_rdp(event.l1_sensitivity / event.scale, alpha)
    return _randomised_response_rdp(event.epsilon, alpha)


def _randomised_response_rdp(epsilon: float, alpha: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # ln(p^a q^(1-a) + q^a p^(1-a)) / (a - 1) with ln p = -ln(1 + e^-eps), ln q = ln p - eps
    log_p = -np.log1p(np.exp(-epsilon))
    log_q = log_p - epsilon
    forth = alpha * log_p + (1 - alpha) * log_q
    back = alpha * log_q + (1 - alpha) * log_p
    # both terms are near 1 for small epsilon: rounding must not make the divergence negative
    divergence: npt.NDArray[np.float64] = np.maximum(0.0, np.logaddexp(forth, back) / (alpha - 1))
    return divergence


@lru_cache(maxsize=65536)
def events_rdp(events: EventCounts, orders: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Composed Renyi divergence at each order: float64[n_orders], read-only.

    Args:
        events: What was released.
        orders: Orders alpha, each above 1.
    """
    total = np.zeros(len(orders))
    for event, count in events:
        total += count * event_rdp(event, orders)
    total.flags.writeable = False
    return total


def epsilons_of_rdp(rdp: npt.NDArray[np.float64], orders: Sequence[float], *, delta: float) -> npt.NDArray[np.float64]:
    """Epsilon at `delta` proven by each order alone: float64[..., n_orders], >= 0.

    rdp + ln(1 - 1/alpha) - ln(delta alpha) / (alpha - 1), and 0 wherever the divergence is so small that
    sqrt(1 - exp(-rdp)) <= delta bounds the total variation distance.

    Args:
        rdp: Divergences, float64[..., n_orders], >= 0.
        orders: Orders alpha, each above 1.
        delta: In (0, 1).

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Proposition 12; Bretagnolle and Huber (1979) for the
        second case. Both as in dp_accounting's `compute_epsilon`.
    """
    alpha = np.asarray(orders, dtype=np.float64)
    epsilon = rdp + np.log1p(-1 / alpha) - np.log(delta * alpha) / (alpha - 1)
    return np.where(delta**2 + np.expm1(-rdp) > 0, 0.0, np.maximum(0.0, epsilon))


def best_order(events: EventCounts, orders: tuple[float, ...], *, delta: float) -> float:
    """The order that gives the smallest epsilon; the first one on a tie.

    Args:
        events: What was released.
        orders: Orders alpha, each above 1.
        delta: In (0, 1).
    """
    return orders[int(np.argmin(epsilons_of_rdp(events_rdp(events, orders), orders, delta=delta)))]


@dataclass(frozen=True, slots=True)
class RdpAccountant:
    """The smallest epsilon over a fixed set of orders.

    Attributes:
        orders: Orders alpha, each above 1; setting RDP_ORDERS.
    """

    orders: tuple[float, ...] = DEFAULT_ORDERS
    name: str = "rdp"

    def bound(self, events: EventCounts, *, delta: float) -> Bound:
        """The bound at `delta`."""
        if not events:
            return Bound(0.0, 0.0)
        return Bound(float(epsilons_of_rdp(events_rdp(events, self.orders), self.orders, delta=delta).min()), delta)
