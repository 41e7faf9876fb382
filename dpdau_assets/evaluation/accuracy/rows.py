"""What an evaluation finds: its rows, its points and how figures are rounded.

Belongs here: the shape of the tables. Everything here is of the trusted side. Does not belong here: how a row comes
about (`measures`, `horizon_rows`), files (`results`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dpdau_assets.evaluation.accuracy.grid import Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One combination and metric (trusted side).

    Attributes:
        mechanism: Which noise.
        sketch: Which sketch; `exact` where no sketch is involved.
        budget: Name of the budget.
        metric: `dau`, `wau` or `mau`.
        released: Releases made.
        refused: Releases that the budget refused.
        lower_bounds: Releases that say `at least`, because their sketch may have been full.
        rmse: Root mean square error, in users; None without a release.
        expected_rmse: What the stored standard deviations of noise and sampling predict for it.
        bias: Mean of released minus exact, in users.
        coverage: Share of the intervals that hold the exact count.
        mean_width: Mean width of the intervals with an upper end, in users.
        mean_users: Mean of the exact counts of the released days.
        epsilon_spent: Epsilon of the metric's account at the end of the month that spent most.
        epsilon_together: The same of all three metrics.
        delta: Delta at which both are stated.
        release_median_ms: Median time of a call that releases one day.
        release_p99_ms: Its 99th percentile: of few calls, nearly the longest.
        build_median_ms: Median time of bringing one day and its windows up to date; no noise is involved.
        build_p99_ms: Its 99th percentile.
    """

    mechanism: str
    sketch: str
    budget: str
    metric: str
    released: int
    refused: int = 0
    lower_bounds: int = 0
    rmse: float | None
    expected_rmse: float | None
    bias: float | None
    coverage: float | None
    mean_width: float | None
    mean_users: float | None
    epsilon_spent: float | None
    epsilon_together: float | None = None
    delta: float
    release_median_ms: float | None = None
    release_p99_ms: float | None = None
    build_median_ms: float | None = None
    build_p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One released value beside the exact count (trusted side)."""

    mechanism: str
    sketch: str
    budget: str
    metric: str
    day: str
    estimate: float
    lower_95: int
    upper_95: int | None
    exact_users_trusted_side: int


@dataclass(frozen=True)
class Evaluation:
    """What was found (trusted side).

    Attributes:
        configuration: Everything that the numbers depend on.
        rows: A row for each combination and metric.
        points: The released values of the first trial of each combination.
        unsupported: What was not evaluated, and why.
        seconds: How long it took.
    """

    configuration: dict[str, Any]
    rows: tuple[Row, ...]
    points: tuple[Point, ...]
    unsupported: tuple[Unsupported, ...]
    seconds: float


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def milliseconds(seconds: Sequence[float], percentile: float) -> float | None:
    """A percentile in milliseconds, to a hundredth; None of nothing."""
    return round(1000 * float(np.percentile(seconds, percentile)), 2) if len(seconds) else None


def rounded(value: float | None) -> float | None:
    """To four decimals, which is beyond what a simulation tells; None stays."""
    return None if value is None else round(value, 4)
