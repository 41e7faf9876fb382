"""Plans the noise for everything that a period may release, so that the last release fits as the first does.

Belongs here: the plan of a period, and the smallest factor by which noise must grow until the plan fits its cap. Does
not belong here: the shape of that noise (`correlated`, `joint`), nor whether a release fits (`accounting.snapshot`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.accounting.lattice import LatticeAccountant
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts, merge_events
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import InternalError

MARGIN = 1e-6
"""Share of a cap that a plan leaves free, because another build of the same accountant may round differently."""
OVERSHOOT = 1e-7
"""Relative distance by which a step towards the smallest factor aims past it, so that it reaches it."""
CLOSE = 1e-4
"""Relative excess over the cap up to which the closed form is used instead of the numerical bound."""
STEPS_LIMIT = 60


@dataclass(frozen=True, slots=True)
class PeriodPlan:
    """What one account may release in its period. All of it is public.

    Attributes:
        releases: T: releases and revisions together, at least 1.
        epsilon_cap: Loss that all of them together may reach.
        delta: Delta at which it is stated, in (0, 1).
        reserved: Events beside them that the cap must hold as well, such as the search of a first threshold.
    """

    releases: int
    epsilon_cap: float
    delta: float
    reserved: EventCounts = NO_EVENTS

    def __post_init__(self) -> None:
        if self.releases < 1:
            raise InternalError("a period must be planned for at least one release")

    @property
    def mu(self) -> float:
        """The mu of continuous Gaussian noise that would fill the cap."""
        return gaussian_mu(self.epsilon_cap, self.delta)


def smallest_noise_factor(events_at: Callable[[float], EventCounts], plan: PeriodPlan) -> float:
    """Returns a factor f >= 1, within a relative 1e-4 of the smallest, at which the plan costs at most its cap.

    The loss is the closed form where noise is so wide that the lattice does not matter, else the sum over the lattice
    where that is short, else the discrete privacy loss distribution of all planned events, rounded pessimistically: the
    same numbers that decide about each release later, so that rounding makes none of them refused. f is below 1.0001
    at the default caps.

    Args:
        events_at: What the period releases in all when its noise is f times the continuous optimum, decreasing in cost.
        plan: The plan.

    Raises:
        InternalError: No factor was found, which a positive cap excludes.
    """
    goal, factor = plan.epsilon_cap * (1 - MARGIN), 1.0
    for _ in range(STEPS_LIMIT):
        total = merge_events(events_at(factor), plan.reserved)
        epsilon = GdpAccountant().bound(total, delta=plan.delta).epsilon
        if epsilon > goal * (1 + CLOSE):
            epsilon = LatticeAccountant().bound(total, delta=plan.delta).epsilon
        if epsilon == math.inf:
            epsilon = PldAccountant().bound(total, delta=plan.delta).epsilon
        if epsilon <= goal:
            return factor
        factor *= (1 + OVERSHOOT) * gaussian_mu(epsilon, plan.delta) / gaussian_mu(goal, plan.delta)
    raise InternalError("no noise fits the plan of this period")
