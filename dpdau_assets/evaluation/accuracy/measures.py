"""What released values are worth: error, interval, coverage, loss and time of one combination, metric by metric.

Belongs here: from released values beside exact counts to the rows of a table. Everything here is of the trusted side:
an error tells the exact count to whoever knows the released value. Does not belong here: running a combination
(`trials`), files (`results`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.evaluation.accuracy.grid import Cell
from dpdau_assets.evaluation.accuracy.prepared_folders import BuiltFolder
from dpdau_assets.evaluation.accuracy.trials import Trial

Exact = Mapping[tuple[str, date], int]


@dataclass(frozen=True, slots=True)
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
    refused: int
    lower_bounds: int
    rmse: float | None
    expected_rmse: float | None
    bias: float | None
    coverage: float | None
    mean_width: float | None
    mean_users: float | None
    epsilon_spent: float | None
    epsilon_together: float | None
    delta: float
    release_median_ms: float | None
    release_p99_ms: float | None
    build_median_ms: float | None
    build_p99_ms: float | None


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


def rows_of(cell: Cell, built: BuiltFolder, trials: Sequence[Trial]) -> list[Row]:
    """The rows of a combination: all of its trials taken together, one row for each metric.

    Args:
        cell: The combination.
        built: Where it was run.
        trials: What became of it, each time with other noise.
    """
    return [_row(cell, metric, built, trials) for metric in METRICS]


def points_of(cell: Cell, exact: Exact, trial: Trial) -> list[Point]:
    """The released values of one trial, by metric and day."""
    ordered = sorted(trial.results, key=lambda result: (METRICS.index(result.metric), result.day))
    return [
        Point(
            cell.mechanism,
            cell.sketch,
            cell.budget.name,
            result.metric,
            result.day.isoformat(),
            result.estimate,
            result.lower_95,
            result.upper_95,
            exact[result.metric, result.day],
        )
        for result in ordered
    ]


def _row(cell: Cell, metric: str, built: BuiltFolder, trials: Sequence[Trial]) -> Row:
    exact = built.prepared.exact
    results = [result for trial in trials for result in trial.results if result.metric == metric]
    errors = [result.estimate - exact[metric, result.day] for result in results]
    squares = [result.noise_stddev**2 + result.sampling_stddev**2 for result in results]
    widths = [result.upper_95 - result.lower_95 for result in results if result.upper_95 is not None]
    release = [seconds for trial in trials for seconds in trial.release_seconds[metric]]
    mean_square, expected_square = mean([error**2 for error in errors]), mean(squares)
    return Row(
        mechanism=cell.mechanism,
        sketch=cell.sketch,
        budget=cell.budget.name,
        metric=metric,
        released=len(results),
        refused=sum(trial.refused.get(metric, 0) for trial in trials),
        lower_bounds=sum(result.is_lower_bound for result in results),
        rmse=None if mean_square is None else rounded(math.sqrt(mean_square)),
        expected_rmse=None if expected_square is None else rounded(math.sqrt(expected_square)),
        bias=rounded(mean(errors)),
        coverage=rounded(mean([_holds(result, exact[metric, result.day]) for result in results])),
        mean_width=rounded(mean(widths)),
        mean_users=rounded(mean([exact[metric, result.day] for result in results])),
        epsilon_spent=rounded(max(trial.spent[metric] for trial in trials)),
        epsilon_together=rounded(max(trial.spent_together for trial in trials)),
        delta=built.prepared.common["delta"],
        release_median_ms=milliseconds(release, 50),
        release_p99_ms=milliseconds(release, 99),
        build_median_ms=milliseconds(built.build_seconds, 50),
        build_p99_ms=milliseconds(built.build_seconds, 99),
    )


def _holds(result: ReleaseResult, users: int) -> bool:
    return result.lower_95 <= users and (result.upper_95 is None or users <= result.upper_95)


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def milliseconds(seconds: Sequence[float], percentile: float) -> float | None:
    """A percentile in milliseconds, to a hundredth; None of nothing."""
    return round(1000 * float(np.percentile(seconds, percentile)), 2) if len(seconds) else None


def rounded(value: float | None) -> float | None:
    """To four decimals, which is beyond what a simulation tells; None stays."""
    return None if value is None else round(value, 4)
