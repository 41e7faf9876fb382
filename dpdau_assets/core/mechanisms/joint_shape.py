"""The shape of joint noise: which integer matrix K and vector d serve DAU, WAU and MAU of a period best.

Belongs here: the optimisation over shapes, in numpy alone. Does not belong here: the noise itself (`joint`).

A live user adds one of four vectors v to (DAU, WAU, MAU): 000, 001, 011, 111. A centre c and a positive definite metric
Q with (v - c)' Q (v - c) <= 1 on all four give noise of total standard deviation (sqrt(T tr Q^-1) + |c|) / mu over T
releases. Both terms are convex in c once Q is eliminated: for a given c,

    min tr Q^-1 = max over weights w of (tr M^(1/2))^2,  M = sum_i w_i (v_i - c)(v_i - c)',  Q = M^(-1/2) / tr M^(1/2),

so the weights are found by multiplicative steps and c by a quasi-Newton descent on a convex function of three numbers.
Rounding to integers then fixes what the noise is: everything that privacy rests on is computed from K and d exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.errors import InternalError

Matrix: TypeAlias = npt.NDArray[np.float64]
IntegerRow: TypeAlias = tuple[int, int, int]

VERTICES: tuple[IntegerRow, ...] = ((0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1))
"""What one user can add to (DAU, WAU, MAU) of a day: whoever is active on the day is active in the week and month."""
UNITS = 64
"""Length to which the metric is scaled before rounding; r^2 is near 64^2."""
WEIGHT_STEPS, CENTRE_STEPS = 4000, 400
SETTLED = 1e-14
"""Change of a weight below which the weights stand."""


@dataclass(frozen=True, slots=True)
class JointShape:
    """Integers that turn three counts into three numbers with equal noise; public.

    Attributes:
        matrix: K, three rows; invertible.
        centre: d, not zero.
    """

    matrix: tuple[IntegerRow, IntegerRow, IntegerRow]
    centre: IntegerRow

    def squared_radii(self) -> tuple[int, ...]:
        """|K v - d|^2 of each vertex, exactly: how far one user's part can lie from the centre."""
        return tuple(
            sum((value - target) ** 2 for value, target in zip(self.apply(vertex), self.centre, strict=True))
            for vertex in VERTICES
        )

    @property
    def squared_radius(self) -> int:
        """r^2: the largest of `squared_radii`."""
        return max(self.squared_radii())

    def apply(self, counts: IntegerRow) -> IntegerRow:
        """K times a vector of counts, exactly."""
        first, second, third = (
            sum(entry * count for entry, count in zip(row, counts, strict=True)) for row in self.matrix
        )
        return first, second, third

    def inverse(self) -> Matrix:
        """K^-1: float64[3, 3]."""
        return np.asarray(np.linalg.inv(np.array(self.matrix, dtype=np.float64)), dtype=np.float64)


@lru_cache(maxsize=64)
def joint_shape(releases: int) -> JointShape:
    """The best shape for T releases, rounded to integers.

    Args:
        releases: T, at least 2.

    Raises:
        InternalError: T is below 2, where no shared noise helps.
    """
    if releases < 2:
        raise InternalError("joint noise is shaped for two releases or more")
    centre, root = _optimum(releases)
    rows = [tuple(int(entry) for entry in row) for row in np.rint(UNITS * root)]
    matrix = np.array(rows, dtype=np.float64)
    offset = tuple(int(entry) for entry in np.rint(matrix @ centre))
    return JointShape((_row(rows[0]), _row(rows[1]), _row(rows[2])), _row(offset))


def _row(values: tuple[int, ...]) -> IntegerRow:
    first, second, third = values
    return first, second, third


def _optimum(releases: int) -> tuple[Matrix, Matrix]:
    """Centre c and Q^(1/2) of the best real shape: float64[3], float64[3, 3]."""
    centre, weights = np.array([0.3, 0.5, 0.7]), np.full(len(VERTICES), 1 / len(VERTICES))
    hessian = np.eye(3) / math.sqrt(releases)
    value, gradient, weights = _total_deviation(centre, weights, releases)
    for _ in range(CENTRE_STEPS):
        step, length = -hessian @ gradient, 1.0
        while True:
            following = _total_deviation(centre + length * step, weights, releases)
            if following[0] <= value + 1e-4 * length * float(gradient @ step) or length < 1e-12:
                break
            length /= 2
        moved, turned = length * step, following[1] - gradient
        centre, (value, gradient, weights) = centre + moved, following
        curvature = float(moved @ turned)
        if float(np.abs(moved).max()) < 1e-11 or curvature <= 0:
            break
        left = np.eye(3) - np.outer(moved, turned) / curvature
        hessian = left @ hessian @ left.T + np.outer(moved, moved) / curvature
    arms = np.array(VERTICES, dtype=np.float64) - centre
    inverse_root, trace = _inverse_root(arms, weights)
    metric = inverse_root / trace
    metric /= float(np.einsum("ij,jk,ik->i", arms, metric, arms).max())
    values, vectors = np.linalg.eigh(metric)
    return centre, (vectors * np.sqrt(values)) @ vectors.T


def _total_deviation(centre: Matrix, weights: Matrix, releases: int) -> tuple[float, Matrix, Matrix]:
    """sqrt(T min tr Q^-1) + |c| at `centre`, its gradient, and the weights that reach it."""
    arms, scale = np.array(VERTICES, dtype=np.float64) - centre, math.sqrt(releases)
    weights = np.maximum(weights, 1e-3) / np.maximum(weights, 1e-3).sum()
    inverse_root, trace = _inverse_root(arms, weights)
    for _ in range(WEIGHT_STEPS):
        lengths = np.einsum("ij,jk,ik->i", arms, inverse_root, arms) / trace
        following = weights * lengths / float(weights @ lengths)
        change, weights = float(np.abs(following - weights).max()), following
        inverse_root, trace = _inverse_root(arms, weights)
        if change < SETTLED:
            break
    length = float(np.linalg.norm(centre))
    gradient = centre / length - scale * inverse_root @ (weights @ arms)
    return scale * trace + length, gradient, weights


def _inverse_root(arms: Matrix, weights: Matrix) -> tuple[Matrix, float]:
    """M^(-1/2) and tr M^(1/2) of M = sum_i w_i a_i a_i'."""
    values, vectors = np.linalg.eigh((arms * weights[:, None]).T @ arms)
    roots = np.sqrt(values)
    return (vectors / roots) @ vectors.T, float(roots.sum())
