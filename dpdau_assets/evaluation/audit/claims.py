"""What the noise covers, and what a user's changes cost under it.

Belongs here: the sets of changes that are claimed, and v'Pv, the squared mu at which a Gaussian mechanism lets the
change v be guessed; P is the inverse covariance of the released numbers. Does not belong here: where the changes come
from (`replay`).

Reference: Dong, Roth, Su (2022), "Gaussian differential privacy": a shift v of correlated Gaussian noise is
mu-distinguishable with mu^2 = v'Pv, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    EventCounts,
    VectorGaussianEvent,
)
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT
from dpdau_assets.core.mechanisms.calibration import mechanism_from_parameters
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.gaussian import DiscreteGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.joint import JointGaussian, joint_from_parameters
from dpdau_assets.core.mechanisms.joint_shape import VERTICES
from dpdau_assets.core.mechanisms.laplace import DiscreteLaplace
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.evaluation.audit.chances import NORMAL
from dpdau_assets.evaluation.audit.recorder import Reading
from dpdau_assets.storage.ledger import accounts

ROUNDING = 1e-9
"""Relative slack of comparisons between sums of the same numbers."""


@dataclass(frozen=True, slots=True)
class Change:
    """How much one user moved one number before noise, of a release or of a search for a first threshold."""

    metric: Metric
    day: date
    by: int
    is_search: bool = False


def changes_between(with_user: Sequence[Reading], without_user: Sequence[Reading]) -> list[Change] | str:
    """The changes, or what differs when the two did not read the same windows in the same order."""
    if [each.asked for each in with_user] != [each.asked for each in without_user]:
        return "other windows or thresholds were read without the user"
    return [
        Change(one.metric, one.day, one.value - other.value, one.is_search)
        for one, other in zip(with_user, without_user, strict=True)
    ]


def uncovered(changes: Iterable[Change], *, joint: bool = False) -> list[str]:
    """The changes that the noise of releases does not cover, in words; empty when it covers all.

    Independent and correlated noise cover any pattern of 0 and 1; joint noise covers the four vectors of a user who
    is active on the day, only in the week, only in the month, or not at all.

    Args:
        changes: In the order of the draws.
        joint: Whether the three metrics were drawn together.
    """
    listed = list(changes)
    found = [f"{each.metric} of {each.day} moved by {each.by}" for each in listed if each.by not in (0, 1)]
    if joint:
        for day, vector in _vectors(listed):
            if vector not in VERTICES:
                found.append(f"dau, wau and mau of {day} moved by {vector}")
    return found


def short_runs(changes: Iterable[Change], *, metric: Metric, at_least: int) -> list[str]:
    """Runs of days on which a user counted for `metric` that began and ended within the release and were shorter.

    Nothing in this system forbids them: late events and erasures make them. Noise that is calibrated to long runs only
    (tree, matrix) would claim more than it gives.

    Args:
        changes: One for each day, in order of days.
        metric: The metric.
        at_least: The length that such noise would rely on.
    """
    per_day = {each.day: each.by for each in changes if each.metric == metric}
    runs = [(value, sum(1 for _ in days)) for value, days in groupby(per_day[day] for day in sorted(per_day))]
    return [
        f"a run of {length} days for {metric}, where {at_least} are relied on"
        for position, (value, length) in enumerate(runs)
        if value == 1 and 0 < position < len(runs) - 1 and length < at_least
    ]


def squared_mu_of(account: accounts.Account, changes: Sequence[Change]) -> float:
    """v'Pv of the changes drawn under one account; for Laplace noise, which is not Gaussian, what dominates it.

    So it is for a search, of which the user moved any level.

    Args:
        account: The account, whose frozen mechanism made the noise.
        changes: What one user moved, in the order of its draws.
    """
    if account.mechanism == "joint":
        joint = joint_from_parameters(account.parameters)
        vectors = np.array([joint.shape.apply(vector) for _, vector in _vectors(list(changes))], dtype=np.float64)
        return _joint_squared_mu(joint, vectors)
    mechanism = mechanism_from_parameters(account.mechanism, account.parameters)
    drawn = [each.by for each in changes if not each.is_search]
    is_in_search = any(each.by for each in changes if each.is_search)
    search = pure_mu(ABOVE_THRESHOLD_EVENT.epsilon) ** 2 if is_in_search else 0.0
    return float(squared_mu(mechanism, np.array(drawn, dtype=np.float64))) + search


def squared_mu(mechanism: Mechanism, pattern: npt.NDArray[np.float64]) -> float:
    """v'Pv of a pattern of changes, in users, under one mechanism with one offset."""
    if isinstance(mechanism, DiscreteLaplace):
        return math.fsum(pure_mu(abs(by) / mechanism.scale) ** 2 for by in pattern)
    if isinstance(mechanism, DiscreteGaussian):
        return float((pattern**2).sum() / mechanism.stddev**2)
    assert isinstance(mechanism, CorrelatedGaussian)
    moved = mechanism.units_per_user * pattern
    return float(moved @ correlated_precision(mechanism, len(pattern)) @ moved)


def correlated_precision(mechanism: CorrelatedGaussian, releases: int) -> npt.NDArray[np.float64]:
    """The inverse covariance of `releases` draws that share one offset: float64[releases, releases]."""
    fresh, shared = mechanism.release_stddev**2, mechanism.shared_stddev**2
    ones = np.ones((releases, releases))
    return np.asarray((np.eye(releases) - ones * shared / (fresh + releases * shared)) / fresh, dtype=np.float64)


def _joint_squared_mu(joint: JointGaussian, moved: npt.NDArray[np.float64]) -> float:
    """v'Pv for draws of vectors: noise sg^2 I, and h d on all of them. `moved` is K v, float64[releases, 3]."""
    fresh, shared = joint.release_stddev**2, joint.shared_stddev**2
    centre = np.array(joint.shape.centre, dtype=np.float64)
    along = float((moved @ centre).sum())
    reach = len(moved) * float(centre @ centre)
    return float(((moved**2).sum() - along**2 * shared / (fresh + reach * shared)) / fresh)


def worst_pattern_days(mechanism: CorrelatedGaussian, releases: int) -> int:
    """On how many of the released days a user must count to be guessed best: about 18 of 30."""
    costs = [squared_mu(mechanism, np.array([1.0] * days + [0.0] * (releases - days))) for days in range(releases + 1)]
    return int(np.argmax(costs))


def claimed_squared_mu(events: EventCounts) -> float:
    """The squared mu that the charged events stand for."""
    return math.fsum(count * _event_mu(event) ** 2 for event, count in events)


def _event_mu(event: DpEvent) -> float:
    if isinstance(event, DiscreteGaussianEvent):
        return event.l2_sensitivity / event.stddev
    if isinstance(event, VectorGaussianEvent):
        return math.sqrt(event.squared_sensitivity) / event.stddev
    return pure_mu(event.l1_sensitivity / event.scale if isinstance(event, DiscreteLaplaceEvent) else event.epsilon)


def pure_mu(epsilon: float) -> float:
    """The smallest mu for which every epsilon-DP mechanism is mu-Gaussian private.

    It is 2 Phi^-1(e^epsilon / (1 + e^epsilon)): the trade-off of randomised response consists of two chords of the
    Gaussian one.
    """
    return 2 * NORMAL.inv_cdf(1 / (1 + math.exp(-epsilon)))


def exceeds(observed: float, claimed: float) -> bool:
    """Whether a squared mu lies above the claimed one, rounding apart."""
    return observed > claimed * (1 + ROUNDING) or math.isnan(observed)


def _vectors(changes: Sequence[Change]) -> list[tuple[date, tuple[int, int, int]]]:
    """The changes by draw of all three metrics, which are read one after the other."""
    triples = [changes[start : start + len(METRICS)] for start in range(0, len(changes), len(METRICS))]
    found = []
    for triple in triples:
        by = {each.metric: each.by for each in triple}
        found.append((triple[0].day, (by.get("dau", 0), by.get("wau", 0), by.get("mau", 0))))
    return found
