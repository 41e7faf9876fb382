"""Noise over a long horizon: what it would gain where limits on late events and erasures were enforced.

Belongs here: the tables about `tree` and `matrix`, which releases refuse. Does not belong here: how their errors are
computed (`evaluation.long_horizon`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.horizon.factorisation import SquareRootStrategy
from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import horizon_noise
from dpdau_assets.core.horizon.tree import daily_stddevs, even_tree, root_mean_square, tree_sensitivity
from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.evaluation.horizon.long_horizon import (
    DECODINGS,
    long_horizon_table,
    square_root_sensitivity,
    tree_weights,
)
from dpdau_assets.evaluation.privacy_tables.document import Table

EPSILON, DELTA = 1.0, 1e-6
"""Loss of a whole horizon in these tables."""
SIMULATED = PatternSet(30, 30)
"""The limits of the simulated row: 30 days, every stay in the monthly set at least 30 days."""
SHOWN = {"plain": "tree, plain", "least_squares": "tree, least squares", "smoothed": "tree, after the last day"}


def long_horizons() -> Table:
    """Root mean square errors of MAU over a horizon."""
    rows = []
    for row in long_horizon_table(epsilon=EPSILON, delta=DELTA):
        plan = PeriodPlan(row["horizon_days"], EPSILON, DELTA)
        any_pattern = math.sqrt(correlated_gaussian(plan).noise_variance())
        trees = [row[f"tree_{decode}"] for decode in DECODINGS]
        errors = (row["independent"], any_pattern, *trees, row["square_root"], row["bound"])
        rows.append(
            (f"{row['horizon_days']} days, {row['patterns']}", str(row["flips"]), *(f"{e:.1f}" for e in errors))
        )
    head = ("users' stays", "flips", "independent", "correlated, any stays", *(SHOWN[decode] for decode in DECODINGS))
    return Table((*head, "square root", "no Gaussian noise below"), tuple(rows))


def simulated_horizons(runs: int, source: NoiseSource) -> Table:
    """The same over 30 days with drawn noise.

    Args:
        runs: Horizons drawn for each mechanism.
        source: Where the noise comes from.
    """
    tree, strategy = even_tree(SIMULATED.horizon_days), SquareRootStrategy(SIMULATED.horizon_days)
    of_tree, of_root = tree_sensitivity(tree, SIMULATED), square_root_sensitivity(SIMULATED)
    cases = [(SHOWN[decode], of_tree, tree_weights(tree, decode)) for decode in DECODINGS]
    rows = []
    for label, certificate, weights in [*cases, ("square root", of_root, strategy.weights())]:
        stddev = horizon_noise(certificate.squared_sensitivity, epsilon=EPSILON, delta=DELTA).stddev
        theory = root_mean_square(daily_stddevs(weights, stddev))
        drawn = [source.discrete_gaussian(stddev) for _ in range(runs * weights.shape[1])]
        squares = np.mean((_by_run(drawn, runs) @ weights.T) ** 2, axis=1)
        found = math.sqrt(float(squares.mean()))
        spread = float(squares.std(ddof=1)) / math.sqrt(runs) / (2 * found)
        rows.append((label, f"{theory:.2f}", f"{found:.2f}", f"{spread:.3f}"))
    head = ("30 days, natural", "theory", "simulated", "standard error")
    return Table(head, tuple(rows), is_simulated=True)


def _by_run(drawn: list[int], runs: int) -> npt.NDArray[np.float64]:
    return np.array(drawn, dtype=np.float64).reshape(runs, -1)
