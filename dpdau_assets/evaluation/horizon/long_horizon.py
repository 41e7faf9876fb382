"""Noise over a long horizon, run on series of counts: the tree, the square-root factorisation, and their errors.

Belongs here: what an evaluation calls. Does not belong here: the mechanisms (`core.mechanisms.tree`, `tree_state`,
`factorisation`, `flip_sensitivity`), and making streams that keep to the limits (`enforcement`). Nothing here protects
people: noise is seeded, and the release path refuses `MECHANISM=tree` and `matrix`.

    from dpdau_assets.evaluation.horizon.enforcement import CountingRules, counted_series, simulated_entries
    rules = CountingRules(horizon_days=30)
    series = counted_series(simulated_entries(stream, first_day, rules), rules).sum(axis=0)
    run = run_tree(series, patterns=rules.patterns, epsilon=1.0, delta=1e-6, key=b"sixteen bytes ok")
    run.estimates - series                     # the errors of this draw
    run.stddevs                                # what they are expected to be, day by day

`run_square_root` takes the same arguments; `RUNNERS` has both by the name of their mechanism. `run_fitted` is noise
fitted to the limits themselves, for at most 30 days. `long_horizon_table()` gives the errors of every case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.dp_events import VectorGaussianEvent
from dpdau_assets.core.horizon.factorisation import SquareRootStrategy, decoding_weights, noisy_answers
from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import Certificate, certified_sensitivity, horizon_noise, series_gram
from dpdau_assets.core.horizon.tree import (
    BinaryTree,
    daily_stddevs,
    even_tree,
    node_weights,
    root_mean_square,
    smoothing_weights,
    tree_sensitivity,
)
from dpdau_assets.core.horizon.tree_state import TreeState
from dpdau_assets.core.mechanisms.samplers import SeededNoise, draw_key
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import UsageError
from dpdau_assets.evaluation.horizon.horizon_bound import FEW_DAYS, fitted_strategy, unavoidable_error

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = Sequence[int] | npt.NDArray[np.int64]

DECODINGS = ("plain", "least_squares", "smoothed")
"""Of a tree: sums of nodes; improved by the nodes inside them; the same with all nodes, after the last day."""


@dataclass(frozen=True, slots=True, eq=False)
class HorizonRun:
    """One simulated horizon.

    Attributes:
        estimates: float64[T], unbiased, not cut at 0.
        stddevs: Their standard deviations in closed form, float64[T].
        event: What the whole horizon charges.
        certificate: What that rests on.
    """

    estimates: Floats
    stddevs: Floats
    event: VectorGaussianEvent
    certificate: Certificate


class Runner(Protocol):
    """What `run_tree` and `run_square_root` have in common."""

    def __call__(
        self, series: Counts, *, patterns: PatternSet, epsilon: float, delta: float, key: bytes
    ) -> HorizonRun: ...


def run_tree(
    series: Counts,
    *,
    patterns: PatternSet,
    epsilon: float,
    delta: float,
    key: bytes,
    decode: str = "least_squares",
    level_units: tuple[int, ...] | None = None,
) -> HorizonRun:
    """A horizon of counts through the tree, day by day.

    Args:
        series: The count of each day, T of them.
        patterns: The limits that every user of the stream keeps to, over the same T days.
        epsilon: Loss of the whole horizon.
        delta: At which it is stated.
        key: Key of the noise, at least 16 bytes; another key is another draw.
        decode: One of `DECODINGS`.
        level_units: How the budget is split between levels; None gives every node the same noise.

    Raises:
        UsageError: `decode` is not one of them.
    """
    tree = even_tree(len(series)) if level_units is None else BinaryTree(len(series), level_units)
    certificate = tree_sensitivity(tree, patterns)
    noise = horizon_noise(certificate.squared_sensitivity, epsilon=epsilon, delta=delta)
    state = TreeState(tree, noise.stddev)
    for difference in differences_of(series):
        state = state.after(difference, _noise_of(key))
    weights = tree_weights(tree, decode)
    estimates = np.asarray(weights @ np.array(state.drawn, dtype=np.float64), dtype=np.float64)
    return HorizonRun(estimates, daily_stddevs(weights, noise.stddev), noise.event(), certificate)


def run_square_root(series: Counts, *, patterns: PatternSet, epsilon: float, delta: float, key: bytes) -> HorizonRun:
    """A horizon of counts through the square-root factorisation; arguments as `run_tree`.

    Raises:
        ConfigurationError: The sensitivity over these patterns cannot be certified.
    """
    strategy = SquareRootStrategy(len(series))
    certificate = square_root_sensitivity(patterns)
    noise = horizon_noise(certificate.squared_sensitivity, epsilon=epsilon, delta=delta)
    answers = strategy.answers(differences_of(series), noise.stddev, _noise_of(key))
    stddevs = daily_stddevs(strategy.weights(), noise.stddev)
    return HorizonRun(strategy.decode(answers), stddevs, noise.event(), certificate)


def run_fitted(series: Counts, *, patterns: PatternSet, epsilon: float, delta: float, key: bytes) -> HorizonRun:
    """A horizon of at most 30 days through the strategy fitted to its patterns; arguments as `run_tree`.

    Raises:
        ConfigurationError: The horizon is longer.
    """
    strategy = fitted_strategy(patterns)
    certificate = fitted_sensitivity(patterns)
    noise = horizon_noise(certificate.squared_sensitivity, epsilon=epsilon, delta=delta)
    answers = noisy_answers(strategy, differences_of(series), noise.stddev, _noise_of(key))
    weights = decoding_weights(strategy)
    estimates = np.asarray(weights @ np.array(answers, dtype=np.float64), dtype=np.float64)
    return HorizonRun(estimates, daily_stddevs(weights, noise.stddev), noise.event(), certificate)


RUNNERS: dict[str, Runner] = {"tree": run_tree, "matrix": run_square_root}
"""By the value of MECHANISM."""


def differences_of(series: Counts) -> list[int]:
    """Daily changes, the first since zero."""
    counts = [int(count) for count in series]
    return [count - before for before, count in zip([0, *counts], counts, strict=False)]


def tree_weights(tree: BinaryTree, decode: str) -> Floats:
    """The weights of one of `DECODINGS`: float64[T, nodes].

    Raises:
        UsageError: `decode` is not one of them.
    """
    if decode not in DECODINGS:
        raise UsageError(f"a tree has no decoding {decode!r}", hint=f"use one of {', '.join(DECODINGS)}")
    return smoothing_weights(tree) if decode == "smoothed" else node_weights(tree, from_below=decode == "least_squares")


@lru_cache(maxsize=16)
def square_root_sensitivity(patterns: PatternSet) -> Certificate:
    """The certified sensitivity of the square-root factorisation over a set of patterns; seconds for a year."""
    return certified_sensitivity(series_gram(SquareRootStrategy(patterns.horizon_days).strategy()), patterns)


@lru_cache(maxsize=16)
def fitted_sensitivity(patterns: PatternSet) -> Certificate:
    """The certified sensitivity of the strategy fitted to a set of patterns."""
    return certified_sensitivity(series_gram(fitted_strategy(patterns)), patterns)


def _noise_of(key: bytes) -> Callable[[int], SeededNoise]:
    return lambda number: SeededNoise(draw_key(key, ledger_id="long horizon", account=0, draw=number))


WINDOW_DAYS = 30
"""The window of MAU, and so the shortest natural stay."""

CASES: tuple[tuple[str, PatternSet], ...] = (
    ("natural", PatternSet(30, WINDOW_DAYS)),
    ("one erasure, then out", PatternSet(30, WINDOW_DAYS, short_cuts=1, has_return=False)),
    ("one erasure and return", PatternSet(30, WINDOW_DAYS, short_cuts=1)),
    ("natural", PatternSet(365, WINDOW_DAYS)),
    ("one erasure, then out", PatternSet(365, WINDOW_DAYS, short_cuts=1, has_return=False)),
)
"""The rows of the table: a name, and the series that one user may have."""


def long_horizon_table(*, epsilon: float = 1.0, delta: float = 1e-6) -> list[dict[str, Any]]:
    """Root mean square errors in users over a horizon, in closed form from certified sensitivities.

    Returns:
        One row for each of `CASES`: `horizon_days`, `patterns` (text), `flips` (the most that one series has),
        `independent`, `tree_plain`, `tree_least_squares` (on the day), `tree_smoothed` (after the last day),
        `square_root` (errors, float), `square_root_gap` (how far, relatively, its certified bound on the squared
        sensitivity may lie above the true one; 0.0 = exact), `fitted` (noise fitted to the patterns; None beyond 30
        days), `bound` (no Gaussian noise errs less). About a minute for all rows, most of it for the last two.

    Args:
        epsilon: Loss of the whole horizon.
        delta: At which it is stated.
    """
    return [_table_row(name, patterns, epsilon=epsilon, delta=delta) for name, patterns in CASES]


def _fitted_error(patterns: PatternSet, *, epsilon: float, delta: float) -> float | None:
    if patterns.horizon_days > FEW_DAYS:
        return None
    certificate = fitted_sensitivity(patterns)
    stddev = horizon_noise(certificate.squared_sensitivity, epsilon=epsilon, delta=delta).stddev
    return root_mean_square(daily_stddevs(decoding_weights(fitted_strategy(patterns)), stddev))


def _table_row(name: str, patterns: PatternSet, *, epsilon: float, delta: float) -> dict[str, Any]:
    horizon = patterns.horizon_days
    tree, strategy = even_tree(horizon), SquareRootStrategy(horizon)
    of_tree, of_root = tree_sensitivity(tree, patterns), square_root_sensitivity(patterns)
    tree_stddev, root_stddev = (
        horizon_noise(certificate.squared_sensitivity, epsilon=epsilon, delta=delta).stddev
        for certificate in (of_tree, of_root)
    )
    errors = {
        f"tree_{decode}": root_mean_square(daily_stddevs(tree_weights(tree, decode), tree_stddev))
        for decode in DECODINGS
    }
    return {
        "horizon_days": horizon,
        "patterns": name,
        "flips": patterns.most_flips(),
        "independent": math.sqrt(horizon) / gaussian_mu(epsilon, delta),
        **errors,
        "square_root": root_mean_square(daily_stddevs(strategy.weights(), root_stddev)),
        "square_root_gap": of_root.squared_sensitivity / of_root.reached - 1,
        "fitted": _fitted_error(patterns, epsilon=epsilon, delta=delta),
        "bound": unavoidable_error(patterns, epsilon=epsilon, delta=delta),
    }
