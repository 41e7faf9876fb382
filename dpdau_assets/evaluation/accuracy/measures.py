"""What released values are worth: error, interval, coverage, loss and time of one combination, metric by metric.

Belongs here: from released values beside exact counts to the rows of a table. Everything here is of the trusted side:
an error tells the exact count to whoever knows the released value. Does not belong here: running a combination
(`trials`), files (`results`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.evaluation.accuracy.grid import Cell
from dpdau_assets.evaluation.accuracy.prepared_folders import BuiltFolder
from dpdau_assets.evaluation.accuracy.rows import Point, Row, mean, milliseconds, rounded
from dpdau_assets.evaluation.accuracy.trials import Trial

Exact = Mapping[tuple[str, date], int]


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
