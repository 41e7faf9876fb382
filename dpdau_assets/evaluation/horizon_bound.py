"""How small the error of Gaussian noise over a horizon can be: what tree and factorisation are held against.

Belongs here: that lower bound. Does not belong here: noise that comes near it.

Noise of covariance S covers a set of series v when v' S^-1 v <= mu^2 for each. For any weights w on some of them, with
M = sum_i w_i v_i v_i',

    trace S >= (tr M^(1/2))^2 / mu^2,

because tr(S^-1 M) <= mu^2 and, by Cauchy and Schwarz, (tr M^(1/2))^2 <= tr(S) tr(S^-1 M). So every weighting proves a
bound, and multiplicative steps w_i -> w_i v_i' M^(-1/2) v_i / tr M^(1/2) improve it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.mechanisms.flip_patterns import REFUSED, PatternSet
from dpdau_assets.core.mechanisms.gaussian_dp import gaussian_mu

Floats: TypeAlias = npt.NDArray[np.float64]

FEW_DAYS = 30
"""Up to this horizon all series are weighted, beyond it those that come and go in cycles."""
STEPS = 100
LONG_STEPS = 15
PHASES = 12
RUNS = (30, 31, 33, 36, 40, 50, 60, 80, 120, 200)
GAPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 70, 120, 200)
"""Lengths of the runs in and out of the cycles."""
SMALLEST_EIGENVALUE = 1e-10
SMALLEST_SHARE = 0.3
"""Series whose weight is below this share of the average are left out from there on: any weighting proves a bound."""


@lru_cache(maxsize=16)
def unavoidable_error(patterns: PatternSet, *, epsilon: float, delta: float) -> float:
    """Root mean square error, in users, below which no Gaussian noise for these patterns can be.

    Args:
        patterns: The allowed series.
        epsilon: Loss of the whole horizon.
        delta: At which it is stated.
    """
    if patterns.horizon_days <= FEW_DAYS:
        trace = _best_root_trace(all_series(patterns), STEPS)
    else:
        trace = _best_root_trace(cyclic_series(patterns), LONG_STEPS)
    return trace / math.sqrt(patterns.horizon_days) / gaussian_mu(epsilon, delta)


def all_series(patterns: PatternSet) -> Floats:
    """Every allowed series: float64[n, T]; for short horizons."""
    automaton = patterns.automaton()
    grown: list[tuple[tuple[int, ...], int]] = [((), 0)]
    for _ in range(patterns.horizon_days):
        grown = [
            ((*series, bit), following)
            for series, state in grown
            for bit, table in enumerate((automaton.when_out, automaton.when_in))
            if (following := table[state]) != REFUSED
        ]
    return np.array([series for series, _ in grown], dtype=np.float64)


def cyclic_series(patterns: PatternSet) -> Floats:
    """Allowed series that are in for a while and out for a while, over and over: float64[n, T]."""
    days = np.arange(patterns.horizon_days)
    found = {(1,) * patterns.horizon_days}
    for run in RUNS:
        for gap in GAPS:
            cycle = run + gap
            for phase in range(0, cycle, max(1, cycle // PHASES)):
                series = tuple(int(value) for value in (days + phase) % cycle >= gap)
                if patterns.allows(series):
                    found.add(series)
    return np.array(sorted(found), dtype=np.float64)


def _best_root_trace(series: Floats, steps: int) -> float:
    """The largest tr M^(1/2) among the weightings tried."""
    weights, best = np.full(len(series), 1 / len(series)), 0.0
    for _ in range(steps):
        values, vectors = np.linalg.eigh((series * weights[:, None]).T @ series)
        roots = np.sqrt(np.maximum(values, SMALLEST_EIGENVALUE))
        lengths = ((series @ vectors) ** 2 / roots).sum(axis=1)
        best = max(best, float(np.sqrt(np.maximum(values, 0.0)).sum()))
        weights = weights * lengths / float(weights @ lengths)
        is_kept = weights * len(weights) >= SMALLEST_SHARE
        series, weights = series[is_kept], weights[is_kept] / weights[is_kept].sum()
    return best
