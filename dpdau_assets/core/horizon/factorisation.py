"""The square-root factorisation: counts over a horizon from answers that each depend on all earlier days.

Belongs here: the integer strategy, its decoding and its error. Does not belong here: the sensitivity over a set of
patterns (`flip_sensitivity`) and the tree (`tree`). For evaluation only: releases refuse it (`MECHANISM=matrix`).

Prefix sums are A = L L with L lower triangular and Toeplitz: L_ij = f_(i-j), f_k = binom(2k, k) / 4^k, because
1 / (1 - x) = (1 - x)^(-1/2) squared. Day t answers (L D)_t + noise of the differences D, and the counts are L times the
answers. Noise is on integers, so L is scaled and rounded to C, c_k = round(`UNITS` f_k); decoding inverts C itself, and
sensitivity is computed on C itself, so that rounding costs a little accuracy and no privacy. A day's answer needs
earlier days only.

Reference: Fichtenberger, Henzinger, Upadhyay (2023), "Constant matters", arXiv 2202.11205, Theorem 1; Henzinger,
Upadhyay, Upadhyay (2023), "Almost tight error bounds on differentially private continual counting", arXiv 2211.05006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.horizon.flip_sensitivity import Integers
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.errors import InternalError

Floats: TypeAlias = npt.NDArray[np.float64]

UNITS = 2**20
"""c_0. What one user moves is a difference of neighbouring coefficients, below 1e-4 for a year ago: rounding to fewer
units would add up over the far pairs of days and loosen what can be certified."""


def square_root_coefficients(length: int) -> Floats:
    """f_0 = 1, f_k = f_(k-1) (2k - 1) / (2k): float64[length], the series of (1 - x)^(-1/2).

    Args:
        length: Number of coefficients, at least 1.
    """
    steps = np.arange(1, length, dtype=np.float64)
    return np.concatenate([[1.0], np.cumprod((2 * steps - 1) / (2 * steps))])


@dataclass(frozen=True, slots=True)
class SquareRootStrategy:
    """The rounded factor C over a horizon; public.

    Attributes:
        horizon_days: T, at least 1.
        units: c_0, at least 1.
    """

    horizon_days: int
    units: int = UNITS

    def __post_init__(self) -> None:
        if min(self.horizon_days, self.units) < 1:
            raise InternalError("a factorisation needs a horizon and positive units")

    def coefficients(self) -> tuple[int, ...]:
        """c_0, ..., c_(T-1)."""
        return tuple(int(value) for value in np.rint(self.units * square_root_coefficients(self.horizon_days)))

    def strategy(self) -> Integers:
        """Returns C, the answers as linear functions of the differences: int64[T, T], lower triangular."""
        lags = np.arange(self.horizon_days)[:, None] - np.arange(self.horizon_days)[None, :]
        return np.where(lags >= 0, np.array(self.coefficients(), dtype=np.int64)[np.maximum(lags, 0)], 0)

    def weights(self) -> Floats:
        """Returns the weights of the answers in each day's estimate: A C^-1, float64[T, T], lower triangular."""
        return decoding_weights(self.strategy())

    def answers(
        self, differences: Sequence[int], stddev: float, noise: Callable[[int], NoiseSource]
    ) -> tuple[int, ...]:
        """Every day's answer with its noise, in units.

        Args:
            differences: Daily changes of the count, T of them, the first since zero (sensitive).
            stddev: Of the noise, in units.
            noise: The source of a day's noise, by the day's number from 0.
        """
        return noisy_answers(self.strategy(), differences, stddev, noise)

    def decode(self, answers: Sequence[int]) -> Floats:
        """Returns every day's count from the answers up to it: float64[T], unbiased, possibly negative."""
        return np.asarray(self.weights() @ np.array(answers, dtype=np.float64), dtype=np.float64)


def decoding_weights(strategy: Integers) -> Floats:
    """A C^-1 of any triangular strategy C: how each day's estimate is made of the answers up to it, float64[T, T].

    Args:
        strategy: What the answers ask of the differences, int64[T, T], lower triangular without a zero on its diagonal.
    """
    prefixes = np.tril(np.ones(strategy.shape))
    return np.asarray(np.linalg.solve(strategy.T.astype(np.float64), prefixes.T).T, dtype=np.float64)


def noisy_answers(
    strategy: Integers, differences: Sequence[int], stddev: float, noise: Callable[[int], NoiseSource]
) -> tuple[int, ...]:
    """Every day's answer with its noise, in units; arguments as `SquareRootStrategy.answers`."""
    exact = strategy @ np.array(differences, dtype=np.int64)
    return tuple(int(value) + noise(day).discrete_gaussian(stddev) for day, value in enumerate(exact))
