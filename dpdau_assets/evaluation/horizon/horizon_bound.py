"""How small the error of Gaussian noise over a horizon can be, and noise that comes near it for short horizons.

Belongs here: the lower bound that tree and factorisation are held against, and the strategy fitted to a set of series.
Does not belong here: the sensitivity of that strategy, which is certified like any other (`flip_sensitivity`).

Noise of covariance S covers a set of series v when v' S^-1 v <= mu^2 for each. For any weights w on some of them, with
M = sum_i w_i v_i v_i',

    trace S >= (tr M^(1/2))^2 / mu^2,

because tr(S^-1 M) <= mu^2 and, by Cauchy and Schwarz, (tr M^(1/2))^2 <= tr(S) tr(S^-1 M). So every weighting proves a
bound. Multiplicative steps w_i -> w_i v_i' M^(-1/2) v_i / tr M^(1/2) improve it, and at the best weights S proportional
to M^(1/2) attains it. Written as S^-1 = R'R with R lower triangular, a day's answer R v needs earlier days only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.horizon.flip_patterns import REFUSED, PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import Integers
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import ConfigurationError

Floats: TypeAlias = npt.NDArray[np.float64]

FEW_DAYS = 30
"""Up to this horizon all series are weighted, beyond it those that come and go in cycles."""
ROUNDS, MANY_ROUNDS, STEPS = 5, 6, 25
"""After each round the series that it covers worst come back; more rounds for fewer than `FEW_SERIES` of them."""
FEW_SERIES = 2000
LONG_STEPS = 15
RETURNING, RETURNING_SHARE, NOT_COVERED = 1000, 0.3, 1 + 1e-4
PHASES = 12
RUNS = (30, 31, 33, 36, 40, 50, 60, 80, 120, 200)
GAPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45, 70, 120, 200)
"""Lengths of the runs in and out of the cycles."""
SMALLEST_EIGENVALUE = 1e-10
SMALLEST_SHARE, SMALLEST_LONG_SHARE = 0.1, 0.3
"""Series whose weight falls below this share of the average are left out: any weighting proves a bound."""
UNITS = 2**20
"""Largest entry of a fitted strategy."""


@dataclass(frozen=True, slots=True, eq=False)
class Weighting:
    """What weightings of series show.

    Attributes:
        root_trace: The largest tr M^(1/2) met.
        inverse_root: The M^(-1/2) that covers all series best, float64[T, T].
    """

    root_trace: float
    inverse_root: Floats


def unavoidable_error(patterns: PatternSet, *, epsilon: float, delta: float) -> float:
    """Root mean square error, in users, below which no Gaussian noise for these patterns can be.

    Args:
        patterns: The allowed series.
        epsilon: Loss of the whole horizon.
        delta: At which it is stated.
    """
    return best_weighting(patterns).root_trace / math.sqrt(patterns.horizon_days) / gaussian_mu(epsilon, delta)


def fitted_strategy(patterns: PatternSet) -> Integers:
    """The strategy fitted to these series, over differences, rounded to integers: int64[T, T], lower triangular.

    Args:
        patterns: The allowed series, over at most `FEW_DAYS` days.

    Raises:
        ConfigurationError: The horizon is longer.
    """
    if patterns.horizon_days > FEW_DAYS:
        raise ConfigurationError(
            f"noise is fitted to horizons of at most {FEW_DAYS} days, not {patterns.horizon_days}",
            hint="use the square-root factorisation",
        )
    precision = best_weighting(patterns).inverse_root
    over_series = np.linalg.cholesky(precision[::-1, ::-1])[::-1, ::-1].T
    over_differences = over_series @ np.tril(np.ones(precision.shape))
    scaled: Integers = np.rint(UNITS * over_differences / np.abs(over_differences).max()).astype(np.int64)
    return scaled


@lru_cache(maxsize=16)
def best_weighting(patterns: PatternSet) -> Weighting:
    """The best weighting found: of all series for a short horizon, of cycles for a long one; seconds."""
    if patterns.horizon_days <= FEW_DAYS:
        series = all_series(patterns)
        rounds = MANY_ROUNDS if len(series) < FEW_SERIES else ROUNDS
        return _improved(series, rounds=rounds, steps=STEPS, smallest_share=SMALLEST_SHARE)
    natural = PatternSet(patterns.horizon_days, patterns.shortest_run_days)
    if patterns != natural:  # every set holds the natural series, whose bound is then one for it
        return best_weighting(natural)
    return _improved(cyclic_series(patterns), rounds=1, steps=LONG_STEPS, smallest_share=SMALLEST_LONG_SHARE)


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


def _improved(series: Floats, *, rounds: int, steps: int, smallest_share: float) -> Weighting:
    """Rounds of multiplicative steps from equal weights; the shape of the round that covers all series best."""
    weights, proven, reached = np.full(len(series), 1 / len(series)), 0.0, math.inf
    shape = np.eye(series.shape[1])
    for _ in range(rounds):
        for _ in range(steps):
            active = np.flatnonzero(weights)
            chosen, shares = series[active], weights[active]
            values, vectors = np.linalg.eigh((chosen * shares[:, None]).T @ chosen)
            roots = np.sqrt(np.maximum(values, SMALLEST_EIGENVALUE))
            proven = max(proven, float(np.sqrt(np.maximum(values, 0.0)).sum()))
            shares = shares * ((chosen @ vectors) ** 2 / roots).sum(axis=1)
            shares[shares < smallest_share * shares.mean()] = 0.0
            weights = np.zeros(len(series))
            weights[active] = shares / shares.sum()
        lengths = ((series @ vectors) ** 2 / roots).sum(axis=1)
        trace = float(roots.sum() * lengths.max())
        if trace < reached:
            shape, reached = (vectors / roots) @ vectors.T, trace
        weights = _with_the_worst_covered(weights, lengths / float(roots.sum()))
    return Weighting(proven, shape)


def _with_the_worst_covered(weights: Floats, lengths: Floats) -> Floats:
    """The weights, with a small share for those left-out series that the present shape does not cover."""
    lengths = np.where(weights > 0, 0.0, lengths)
    worst = np.argsort(-lengths)[:RETURNING]
    grown = weights.copy()
    grown[worst[lengths[worst] > NOT_COVERED]] = RETURNING_SHARE * weights[weights > 0].mean()
    return np.asarray(grown / grown.sum(), dtype=np.float64)
