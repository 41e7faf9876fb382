"""Tree and matrix noise over the simulated stream: the rows that stand beside those of the release path.

These mechanisms rely on limits that releases do not enforce, so they are run on the series of a stream whose counting
keeps to the limits (`enforcement`). Their error is against the plain exact count all the same: users whom the limits
leave out, because an erasure cut their stay short, are missing from what is released, and show as bias.

Belongs here: those rows. Does not belong here: the mechanisms (`long_horizon`), the release path (`trials`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import numpy as np

from dpdau_assets.core.mechanisms.intervals import NORMAL_975
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.evaluation.accuracy.grid import Budget, Unsupported
from dpdau_assets.evaluation.accuracy.rows import Point, Row, mean, rounded
from dpdau_assets.evaluation.horizon.enforcement import CountingRules, counted_series, simulated_entries
from dpdau_assets.evaluation.horizon.long_horizon import RUNNERS, HorizonRun
from dpdau_assets.evaluation.streams.simulate import SimulatedStream
from dpdau_assets.settings.settings import Settings

METRIC, SKETCH = "mau", "exact"


def horizon_rows(
    stream: SimulatedStream,
    days: DayRange,
    exact: Mapping[tuple[str, date], int],
    *,
    mechanisms: Iterable[str],
    budgets: Iterable[Budget],
    settings: Settings,
    seed: int,
    repeats: int,
) -> tuple[list[Row], list[Point]]:
    """MAU over one horizon by each mechanism, at each cap.

    Args:
        stream: The simulated stream.
        days: The horizon.
        exact: Exact users by metric and day.
        mechanisms: Of `long_horizon.RUNNERS`.
        budgets: A cap is the loss of the whole horizon; the settings' is MAU_BUDGET_TOTAL; others are left out.
        settings: With delta and the window.
        seed: Of the noise.
        repeats: How many draws.
    """
    rules = CountingRules(horizon_days=len(days), window_days=settings.mau_window_days)
    series = counted_series(simulated_entries(stream, days.first, rules), rules).sum(axis=0).astype(np.int64)
    true = np.array([exact[METRIC, day] for day in days], dtype=np.int64)
    rows: list[Row] = []
    points: list[Point] = []
    for mechanism in mechanisms:
        for budget in budgets:
            epsilon = settings.mau_budget_total if budget.value is None else budget.value
            if budget.kind == "epsilon":
                continue
            runs = [
                RUNNERS[mechanism](
                    series, patterns=rules.patterns, epsilon=epsilon, delta=settings.delta, key=key.digest()
                )
                for key in (
                    hashlib.sha256(f"{seed}/{mechanism}/{budget.name}/{repeat}".encode()) for repeat in range(repeats)
                )
            ]
            rows.append(_row(mechanism, budget, runs, true, epsilon=epsilon, delta=settings.delta))
            points += _points(mechanism, budget, runs[0], days, true)
    return rows, points


def over_files(mechanisms: Iterable[str]) -> list[Unsupported]:
    """Why there are no such rows over a stream in a file."""
    reason = "runs over simulated streams only, whose counting keeps to its limits"
    return [Unsupported(mechanism, SKETCH, "any", reason) for mechanism in mechanisms]


def _row(
    mechanism: str, budget: Budget, runs: Sequence[HorizonRun], true: np.ndarray, *, epsilon: float, delta: float
) -> Row:
    errors = np.concatenate([run.estimates - true for run in runs])
    stddevs = np.concatenate([run.stddevs for run in runs])
    return Row(
        mechanism=mechanism,
        sketch=SKETCH,
        budget=budget.name,
        metric=METRIC,
        released=len(errors),
        rmse=rounded(math.sqrt(float((errors**2).mean()))),
        expected_rmse=rounded(math.sqrt(float((stddevs**2).mean()))),
        bias=rounded(float(errors.mean())),
        coverage=rounded(float((np.abs(errors) <= NORMAL_975 * stddevs).mean())),
        mean_width=rounded(2 * NORMAL_975 * float(stddevs.mean())),
        mean_users=rounded(mean([float(count) for count in true])),
        epsilon_spent=epsilon,
        delta=delta,
    )


def _points(mechanism: str, budget: Budget, run: HorizonRun, days: DayRange, true: np.ndarray) -> list[Point]:
    reach = NORMAL_975 * run.stddevs
    return [
        Point(
            mechanism,
            SKETCH,
            budget.name,
            METRIC,
            day.isoformat(),
            round(max(0.0, float(run.estimates[number])), 1),
            max(0, math.ceil(run.estimates[number] - reach[number])),
            max(0, math.floor(run.estimates[number] + reach[number])),
            int(true[number]),
        )
        for number, day in enumerate(days)
    ]
