"""What the defaults release in a month and in a year, as mechanisms and as events.

Belongs here: the settings that the page is about, and which releases a row of a table stands for. Does not belong here:
what they cost (`losses`), how far they err (`errors`).
"""

from __future__ import annotations

from functools import lru_cache

from dpdau_assets.core.accounting.snapshot import releases_that_fit
from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    PureDpEvent,
    VectorGaussianEvent,
    count_events,
    merge_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.joint import JointGaussian, joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import InternalError
from dpdau_assets.settings.settings import Settings

DEFAULTS = Settings()
"""The defaults; neither `.env` nor the environment is read."""
DELTA = DEFAULTS.delta
MONTH = 31
"""Days of the month that tables are about: the longest one, with the largest noise and loss."""
YEAR = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""Days of the months of a year."""
RESERVE = DEFAULTS.revision_reserve
SINGLE = ("laplace", "gaussian", "correlated")
"""Mechanisms of one metric."""
MECHANISMS = (*SINGLE, "joint")


@lru_cache(maxsize=256)
def metric_noise(name: str, metric: Metric, days: int = MONTH) -> Mechanism:
    """The noise of one metric's account in a month of `days` days, revisions in reserve."""
    plan = PeriodPlan(days + RESERVE, DEFAULTS.cap_of(metric), DELTA)
    return mechanism_from(name, epsilon=DEFAULTS.epsilon_of(metric), delta=DELTA, plan=plan)


def joint_cap() -> float:
    """What the account of all three metrics may spend in a month."""
    return min(DEFAULTS.joint_budget_total, DEFAULTS.total_budget_month)


@lru_cache(maxsize=16)
def joint_noise(days: int = MONTH) -> JointGaussian:
    """The noise of the account of all three metrics."""
    return joint_gaussian(PeriodPlan(days + RESERVE, joint_cap(), DELTA))


@lru_cache(maxsize=256)
def releases_made(name: str, metric: Metric, days: int, *, revisions: int = 0) -> int:
    """How many releases a month holds: its days and revisions, or as many as fit under the cap."""
    planned = days + revisions
    if name != "laplace":
        return planned
    fit = releases_that_fit(
        NO_EVENTS,
        metric_noise(name, metric, days).event(),
        DEFAULTS.cap_of(metric),
        delta=DELTA,
        **DEFAULTS.accounting,
    )
    return min(planned, fit)


def month_of(name: str, metric: Metric, *, days: int = MONTH, revisions: int = 0) -> EventCounts:
    """What one metric's account is charged in a month, its opening included."""
    noise = metric_noise(name, metric, days)
    made = releases_made(name, metric, days, revisions=revisions)
    return merge_events(noise.shared_noise_charge(), repeat_event(noise.event(), made))


@lru_cache(maxsize=64)
def month_of_all(name: str, *, days: int = MONTH, revisions: int = 0) -> EventCounts:
    """What all accounts are charged in a month."""
    if name == "joint":
        noise = joint_noise(days)
        return merge_events(noise.shared_noise_charge(), repeat_event(noise.event(), days + revisions))
    return merge_events(*(month_of(name, metric, days=days, revisions=revisions) for metric in METRICS))


@lru_cache(maxsize=16)
def year_of_all(name: str, *, revisions: int = 0) -> EventCounts:
    """What all accounts are charged in the twelve months of a year."""
    return merge_events(*(month_of_all(name, days=days, revisions=revisions) for days in YEAR))


def for_ids(events: EventCounts, ids: int) -> EventCounts:
    """The same releases as they look to a person with several ids, each of which may move every count."""
    return count_events(_wider(event, ids) for event, count in events for _ in range(count))


def _wider(event: DpEvent, ids: int) -> DpEvent:
    if isinstance(event, DiscreteGaussianEvent):
        return DiscreteGaussianEvent(event.stddev, ids * event.l2_sensitivity)
    if isinstance(event, VectorGaussianEvent):
        return VectorGaussianEvent(event.stddev, ids**2 * event.squared_sensitivity)
    if isinstance(event, DiscreteLaplaceEvent):
        return DiscreteLaplaceEvent(event.scale, ids * event.l1_sensitivity)
    if isinstance(event, PureDpEvent):
        return PureDpEvent(ids * event.epsilon)
    raise InternalError("an event of an unknown kind")
