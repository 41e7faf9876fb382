"""Simulated attacks: how often the best score recognises a user in a month, beside theory and the guarantee's bound.

The attacker knows every count but one user's part, and so sees that part plus noise. Against Gaussian noise of
covariance C the best score of a change v is v' C^-1 times what is seen. It is normal with deviation mu, around 0
without the user and mu^2 with it, where mu^2 = v' C^-1 v.

Belongs here: those scores for simulated months. Does not belong here: the audit, which attacks the real pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.accounting.attacker import NORMAL, gaussian_true_positives, true_positive_bound
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.joint_shape import VERTICES, IntegerRow
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.evaluation.audit.claims import worst_pattern_days
from dpdau_assets.evaluation.privacy_tables.document import Table
from dpdau_assets.evaluation.privacy_tables.errors import split_of
from dpdau_assets.evaluation.privacy_tables.scenarios import (
    MONTH,
    RESERVE,
    joint_noise,
    metric_noise,
    month_of,
    month_of_all,
)
from dpdau_assets.evaluation.privacy_tables.simulation import HEAD, Numbers, Simulation, shares_row

FALSE_POSITIVES = 0.01


def attack_table(simulation: Simulation) -> Table:
    """False alarms and users recognised in simulated months.

    Args:
        simulation: The months.
    """
    correlated = metric_noise("correlated", "dau")
    assert isinstance(correlated, CorrelatedGaussian)
    worst = worst_pattern_days(correlated, MONTH)
    ones, some = np.ones(MONTH), (np.arange(MONTH) < worst).astype(np.float64)
    dau = month_of("correlated", "dau", revisions=RESERVE)
    cases: list[tuple[str, str, dict[Metric, Numbers], EventCounts]] = [
        ("gaussian", "DAU, there every day", {"dau": ones}, month_of("gaussian", "dau")),
        ("correlated", "DAU, there every day", {"dau": ones}, dau),
        ("correlated", f"DAU, there on {worst} days, told best", {"dau": some}, dau),
        (
            "correlated",
            f"all three, counted on {worst} days of each, told best",
            dict.fromkeys(METRICS, some),
            month_of_all("correlated", revisions=RESERVE),
        ),
    ]
    rows = []
    for name, label, moved, events in cases:
        rows += _outcome(f"`{name}`, {label}", *_single_scores(simulation, name, moved), events)
    joint = month_of_all("joint", revisions=RESERVE)
    told_best = joint_days_told_best(MONTH)
    patterns = {
        "there every day": ((1, 1, 1),) * MONTH,
        f"there on {told_best.count((1, 1, 1))} days, told best": told_best,
    }
    for label, days in patterns.items():
        rows += _outcome(f"`joint`, all three, {label}", *joint_scores(simulation, days), joint)
    return Table(("a month", "bound of the guarantee", "of", *HEAD), tuple(rows), is_simulated=True)


def _single_scores(simulation: Simulation, name: str, moved: dict[Metric, Numbers]) -> tuple[Numbers, float]:
    """Scores of months without the user, and mu^2: summed over metrics, whose noise is independent."""
    scores, squared_mu = np.zeros(simulation.months), 0.0
    for metric, pattern in moved.items():
        split = split_of(name, metric)
        weights = np.linalg.solve(split.fresh**2 * np.eye(MONTH) + split.shared**2, pattern)
        scores += simulation.errors(name, metric) @ weights
        squared_mu += float(weights @ pattern)
    return scores, squared_mu


def joint_scores(simulation: Simulation, days: Sequence[IntegerRow]) -> tuple[Numbers, float]:
    """The same for draws of three numbers, by what the user adds on each day."""
    noise = joint_noise()
    moved = np.array([noise.shape.apply(vector) for vector in days], dtype=np.float64).reshape(-1)
    along = np.tile(np.array(noise.shape.centre, dtype=np.float64), len(days))
    covariance = noise.release_stddev**2 * np.eye(len(along)) + noise.shared_stddev**2 * np.outer(along, along)
    weights = np.linalg.solve(covariance, moved)
    return simulation.vectors.reshape(simulation.months, -1) @ weights, float(weights @ moved)


@lru_cache(maxsize=4)
def joint_days_told_best(days: int) -> tuple[IntegerRow, ...]:
    """What a user adds on each day of a month so that joint noise hides it least; the order does not matter.

    Args:
        days: Released days.
    """
    noise = joint_noise()
    images = np.array([noise.shape.apply(vertex) for vertex in VERTICES], dtype=np.float64)
    centre = np.array(noise.shape.centre, dtype=np.float64)
    shares = _compositions(days)
    along = shares @ (images @ centre)
    reach = noise.release_stddev**2 + days * float(centre @ centre) * noise.shared_stddev**2
    squares = shares @ (images**2).sum(axis=1) - along**2 * noise.shared_stddev**2 / reach
    best = shares[int(np.argmax(squares))]
    return tuple(vertex for vertex, times in zip(VERTICES, best, strict=True) for _ in range(int(times)))


def _compositions(days: int) -> npt.NDArray[np.int64]:
    """Every way to share days out among the four vertices: int64[n, 4]."""
    first, second, third = np.meshgrid(*[np.arange(days + 1)] * 3, indexing="ij")
    left = days - first - second - third
    return np.stack([part[left >= 0] for part in (first, second, third, left)], axis=1)


def _outcome(label: str, scores: Numbers, squared_mu: float, events: EventCounts) -> list[tuple[str, ...]]:
    """False alarms and true positives of a score.

    Args:
        label: The case.
        scores: Of months without the user: float64[months]. With the user they are larger by mu^2.
        squared_mu: mu^2 of the user's pattern.
        events: What the guarantee is about.
    """
    mu = math.sqrt(squared_mu)
    limit = mu * NORMAL.inv_cdf(1 - FALSE_POSITIVES)
    bound = f"{100 * true_positive_bound(events, false_positives=FALSE_POSITIVES):.1f} %"
    recognised = gaussian_true_positives(mu, false_positives=FALSE_POSITIVES)
    return [
        (label, "", "false alarms", *shares_row(FALSE_POSITIVES, scores > limit)),
        (label, bound, "recognised", *shares_row(recognised, scores + squared_mu > limit)),
    ]
