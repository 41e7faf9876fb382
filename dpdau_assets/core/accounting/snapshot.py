"""Chooses the bound that counts, decides what fits under a cap, and makes the published state of one budget.

Belongs here: everything that asks several accountants at once. All of it is a pure function of multisets of events and
public parameters, memoised, and meant to be called before a ledger transaction opens. Does not belong here: reading
the ledger, or any knowledge of accounts and months beyond their names.

A cap is enforced on the smallest bound that holds at DELTA. Cheap bounds are tried first: if one of them is within the
cap the smallest is too, and the expensive one need not be computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any

from dpdau_assets.core.accounting.accountant import Accountant, Bound
from dpdau_assets.core.accounting.advanced import AdvancedAccountant
from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.accounting.lattice import LatticeAccountant
from dpdau_assets.core.accounting.naive import NaiveAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.accounting.rdp import RdpAccountant, best_order, trailing_orders
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    VectorGaussianEvent,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu

RELEASES_LIMIT = 1000
"""Largest answer of `releases_that_fit`, which is more than any period can use."""


def bounds(
    events: EventCounts, *, delta: float, advanced_delta: float, rdp_orders: tuple[float, ...]
) -> dict[str, Bound | None]:
    """Every bound by name; None for one that does not hold at `delta`.

    Args:
        events: What was released.
        delta: The delta that all statements are made at, in (0, 1).
        advanced_delta: Slack of advanced composition; below `delta`, or that bound is None.
        rdp_orders: Orders of the RDP bound.
    """
    accountants: tuple[Accountant, ...] = (*_cheap(advanced_delta, rdp_orders), PldAccountant())
    found = {accountant.name: accountant.bound(events, delta=delta) for accountant in accountants}
    return {name: found[name] if _holds(found[name], delta) else None for name in ("naive", "advanced", "rdp", "pld")}


def _cheap(advanced_delta: float, rdp_orders: tuple[float, ...]) -> tuple[Accountant, ...]:
    return RdpAccountant(rdp_orders), NaiveAccountant(), AdvancedAccountant(advanced_delta)


def _holds(bound: Bound, delta: float) -> bool:
    return bound.delta <= delta and math.isfinite(bound.epsilon)


def smallest_epsilon(
    events: EventCounts, *, delta: float, advanced_delta: float, rdp_orders: tuple[float, ...]
) -> float:
    """The smallest epsilon proven at `delta`: what counts against a cap.

    Args:
        events: What was released.
        delta: In (0, 1).
        advanced_delta: Slack of advanced composition.
        rdp_orders: Orders of the RDP bound.
    """
    found = bounds(events, delta=delta, advanced_delta=advanced_delta, rdp_orders=rdp_orders)
    return min(bound.epsilon for bound in found.values() if bound is not None)


def fits(
    events: EventCounts, cap: float, *, delta: float, advanced_delta: float, rdp_orders: tuple[float, ...]
) -> bool:
    """Returns whether a proven bound is at most the cap; PLD is not computed if a cheaper bound already is.

    Args:
        events: Everything released under the cap, the release in question included.
        cap: Largest epsilon allowed.
        delta: In (0, 1).
        advanced_delta: Slack of advanced composition.
        rdp_orders: Orders of the RDP bound.
    """
    cheap: tuple[Accountant, ...] = (GdpAccountant(), *_cheap(advanced_delta, rdp_orders), LatticeAccountant())
    found = (accountant.bound(events, delta=delta) for accountant in (*cheap, PldAccountant()))
    return any(bound.delta <= delta and bound.epsilon <= cap for bound in found)


def releases_that_fit(
    events: EventCounts,
    next_event: DpEvent,
    cap: float,
    *,
    delta: float,
    advanced_delta: float,
    rdp_orders: tuple[float, ...],
) -> int:
    """How many more releases of `next_event` fit under the cap; exact for the bound that `fits` uses.

    The search starts at the number that Gaussian differential privacy predicts, which is off by at most one or two, so
    that a few evaluations decide. All states of one account share these, because their sums are the same multisets.

    Args:
        events: What was released under the cap so far.
        next_event: The event of one more release.
        cap: Largest epsilon allowed.
        delta: In (0, 1).
        advanced_delta: Slack of advanced composition.
        rdp_orders: Orders of the RDP bound.

    Returns:
        0 .. RELEASES_LIMIT.
    """

    def enough(releases: int) -> bool:
        total = merge_events(events, repeat_event(next_event, releases))
        return fits(total, cap, delta=delta, advanced_delta=advanced_delta, rdp_orders=rdp_orders)

    low, step = _predicted_releases(events, next_event, cap, delta=delta), 1
    if low == 0 or enough(low):
        high = low + 1
        while high <= RELEASES_LIMIT and enough(high):
            low, high, step = high, high + 2 * step, 2 * step
    else:
        low, high = low - 1, low
        while low and not enough(low):
            low, high, step = max(0, low - 2 * step), low, 2 * step
    high = min(high, RELEASES_LIMIT + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def _predicted_releases(events: EventCounts, next_event: DpEvent, cap: float, *, delta: float) -> int:
    """Returns a starting point: the central limit in mu^2, or the plain sum if every event is purely epsilon-DP."""
    spent = math.fsum(count * _squared_mu(event) for event, count in events)
    predicted = (gaussian_mu(cap, delta) ** 2 - spent) / _squared_mu(next_event)
    pure = [(_pure_epsilon(event), count) for event, count in (*events, (next_event, 0))]
    if all(math.isfinite(epsilon) for epsilon, _ in pure):
        summed = math.fsum(epsilon * count for epsilon, count in pure)
        predicted = max(predicted, (cap - summed) / pure[-1][0])
    return max(0, min(RELEASES_LIMIT, math.floor(predicted)))


def _pure_epsilon(event: DpEvent) -> float:
    if isinstance(event, DiscreteGaussianEvent | VectorGaussianEvent):
        return math.inf
    return event.l1_sensitivity / event.scale if isinstance(event, DiscreteLaplaceEvent) else event.epsilon


def _squared_mu(event: DpEvent) -> float:
    if isinstance(event, DiscreteGaussianEvent):
        return (event.l2_sensitivity / event.stddev) ** 2
    if isinstance(event, VectorGaussianEvent):
        return event.mu**2
    epsilon = _pure_epsilon(event)
    return 2 * epsilon * math.tanh(epsilon / 2)


@dataclass(frozen=True, slots=True)
class BudgetSnapshot:
    """The state of one metric's budget in one month. All of it may be published.

    Attributes:
        metric: `dau`, `wau` or `mau`.
        period: Calendar month `YYYY-MM`.
        epsilon_cap: Cap of the account.
        epsilon_spent: Smallest proven loss of everything released in the period, accounts before a reset included.
        epsilon_remaining: What the current account has left, >= 0. Losses do not add, so this is room under the cap,
            not a sum of releases.
        budget_remaining: The same, and 0 when not even one further release fits.
        delta: Delta of all statements.
        bounds: naive, advanced, rdp and pld of everything released in the period; None if it does not hold at delta.
        best_rdp_order: Order that gave the RDP bound; None before the first release.
        release_count: Releases and revisions made.
        releases_remaining: How many more fit under the metric's cap.
        next_funded_day: First day whose release would fit; None when unknown.
        resets: Approved further accounts of the period.
        trailing_365d_epsilon: RDP bound over all metrics in the 365 days up to the day asked for, at the orders at
            which its cap is enforced.
        lifetime_epsilon: The same bound over everything ever released.
    """

    metric: str
    period: str
    epsilon_cap: float
    epsilon_spent: float
    epsilon_remaining: float
    budget_remaining: float
    delta: float
    bounds: Mapping[str, Bound | None]
    best_rdp_order: float | None
    release_count: int
    releases_remaining: int
    next_funded_day: date | None
    resets: int
    trailing_365d_epsilon: float
    lifetime_epsilon: float

    def to_json(self) -> dict[str, Any]:
        """The `budget` document: JSON types only, keys in the order of the attributes."""
        document = {name: getattr(self, name) for name in type(self).__slots__}
        document["bounds"] = {name: bound and bound.to_json() for name, bound in self.bounds.items()}
        document["next_funded_day"] = self.next_funded_day and self.next_funded_day.isoformat()
        return document


def budget_snapshot(
    metric: str,
    day: date,
    cap: float,
    delta: float,
    rdp_orders: tuple[float, ...],
    advanced_delta: float,
    *,
    events: EventCounts,
    earlier_events: EventCounts = NO_EVENTS,
    trailing_events: EventCounts,
    lifetime_events: EventCounts,
    release_count: int,
    resets: int = 0,
    next_event: DpEvent,
    shared_noise_charge: EventCounts = NO_EVENTS,
    next_funded_day: date | None = None,
) -> BudgetSnapshot:
    """The state of a metric's budget in the month of `day`. Everything taken and returned is public.

    Args:
        metric: `dau`, `wau` or `mau`, or `joint` for the account of all three.
        day: Any day of the month.
        cap: Epsilon cap of the current account.
        delta: Delta of all statements, in (0, 1).
        rdp_orders: Orders of the RDP bound; a year and more are bounded at finer ones as well.
        advanced_delta: Slack of advanced composition.
        events: Charges of the current account.
        earlier_events: Charges of the same month's accounts before a reset.
        trailing_events: Charges of all metrics in the 365 days up to `day`.
        lifetime_events: Charges of all metrics ever.
        release_count: Releases and revisions behind `events` and `earlier_events`.
        resets: How many accounts came before the current one.
        next_event: What one more release would charge.
        shared_noise_charge: What the next release would have to pay for its shared noise first.
        next_funded_day: First day whose release would fit under every cap, as the caller computed it.
    """
    shared: dict[str, Any] = {"delta": delta, "advanced_delta": advanced_delta, "rdp_orders": rdp_orders}
    period_events = merge_events(events, earlier_events)
    remaining = max(0.0, cap - smallest_epsilon(events, **shared))
    opened = merge_events(events, shared_noise_charge)
    more = releases_that_fit(opened, next_event, cap, **shared)
    rdp = RdpAccountant(
        trailing_orders(rdp_orders)
    )  # the orders of the cap over 365 days: with others, a loss above the cap could be shown
    return BudgetSnapshot(
        metric=metric,
        period=day.isoformat()[:7],
        epsilon_cap=cap,
        epsilon_spent=smallest_epsilon(period_events, **shared),
        epsilon_remaining=remaining,
        budget_remaining=remaining if more else 0.0,
        delta=delta,
        bounds=MappingProxyType(bounds(period_events, **shared)),
        best_rdp_order=best_order(period_events, rdp_orders, delta=delta) if period_events else None,
        release_count=release_count,
        releases_remaining=more,
        next_funded_day=next_funded_day,
        resets=resets,
        trailing_365d_epsilon=rdp.bound(trailing_events, delta=delta).epsilon,
        lifetime_epsilon=rdp.bound(lifetime_events, delta=delta).epsilon,
    )
