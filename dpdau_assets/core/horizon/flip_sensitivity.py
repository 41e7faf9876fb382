"""Bounds how far one user can move a set of linear answers over a horizon, with a proof, or refuses the set.

Belongs here: the largest v'Pv over a set of in-and-out series v, with a proof, and the noise that follows from it. Does
not belong here: the matrices (`tree`, `factorisation`).

The search goes through the days and keeps, for each end that a series can have (its last `window_days` days and the
state of its automaton), the best value so far. Within the window every pair of days counts exactly. A pair of days
further apart is replaced by something that is never smaller and needs no memory:

    for p < 0:  p v_i v_j <= p (v_i + v_j - 1)        for p > 0:  p v_i v_j <= p (v_i + v_j) / 2

(v is 0 or 1). So the best value found is an upper bound for every allowed series, with equality when the window holds
the whole horizon (at most 57 days, and not too many different ends). The series that reaches it is evaluated exactly,
and the gap between the two says how good the proof is. Nothing rests on a search that might miss a series: such
searches under-estimated these bounds by up to 18 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.dp_events import ROUNDING_VARIANCE, VectorGaussianEvent
from dpdau_assets.core.horizon.flip_patterns import REFUSED, Automaton, PatternSet
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import ConfigurationError

Integers: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint64]

STATE_SHIFT = 56
"""A key is an automaton's state above this bit and the last days below it, the latest in bit 0."""
WINDOWS = (56, 48, 44, 40, 36, 32, 28, 24, 20, 16)
"""Lengths of the exact window that are tried, the best first; the first one only where it holds the whole horizon, for
beyond that it takes four times as long as the second and proves no more."""
MOST_ENDS = 100_000
"""Ends of series kept at a time; with more the next shorter window is tried."""
WIDEST_GAP = 0.02
"""Share of its value by which a certificate may exceed what a series reaches; beyond it the set is refused."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A proven bound on what one user's allowed series can add up to, and the series that comes closest. Public.

    Attributes:
        squared_sensitivity: No allowed series v has a larger v'Pv.
        witness: An allowed series.
        reached: Its v'Pv, exactly.
    """

    squared_sensitivity: int
    witness: tuple[int, ...]
    reached: int

    @property
    def is_exact(self) -> bool:
        """Returns whether the witness reaches the bound."""
        return self.squared_sensitivity == self.reached


@dataclass(frozen=True, slots=True)
class HorizonNoise:
    """The noise of every integer answer of a horizon, and what all of them together charge. Public.

    Attributes:
        stddev: Parameter of the discrete Gaussian noise, in units of the answers.
        squared_sensitivity: As certified.
    """

    stddev: float
    squared_sensitivity: int

    def event(self) -> VectorGaussianEvent:
        """The one privacy event of the whole horizon: all answers are one vector, given bit by bit.

        It holds when the days' data depend on earlier answers: each answer adds its own independent noise, and the
        squared moves of a user add up to at most `squared_sensitivity` whichever way the data turn.

        Reference: Denisov, McMahan, Rush, Smith, Thakurta (2022), arXiv 2202.08312, Theorem 2.1.
        """
        return VectorGaussianEvent(self.stddev, self.squared_sensitivity)


def horizon_noise(squared_sensitivity: int, *, epsilon: float, delta: float) -> HorizonNoise:
    """The least noise for which the horizon's one event is (epsilon, delta)-DP.

    Args:
        squared_sensitivity: As certified.
        epsilon: Loss of the whole horizon, positive; public.
        delta: In (0, 1); public.
    """
    stddev = math.sqrt(squared_sensitivity / gaussian_mu(epsilon, delta) ** 2 + ROUNDING_VARIANCE)
    return HorizonNoise(math.nextafter(stddev, math.inf), squared_sensitivity)


def series_gram(strategy: Integers) -> Integers:
    """P with v'Pv = |strategy z|^2, z the daily differences of v: int64[T, T], exact.

    Args:
        strategy: Integer answers over differences, int64[answers, T]; their squares must fit.
    """
    following = np.zeros_like(strategy)
    following[:, :-1] = strategy[:, 1:]
    over_series = strategy - following
    return over_series.T @ over_series


def certified_sensitivity(gram: Integers, patterns: PatternSet) -> Certificate:
    """The largest v'Pv over the allowed series: exact where a window holds the horizon, else bounded with a stated gap.

    Args:
        gram: P, int64[T, T], symmetric.
        patterns: The allowed series, T days long.

    Raises:
        ConfigurationError: It cannot be certified: too many series, or a gap above `WIDEST_GAP`.
    """
    for window_days in WINDOWS if len(gram) <= WINDOWS[0] + 1 else WINDOWS[1:]:
        certificate = _search(gram, patterns, window_days)
        if certificate is None:
            continue
        if certificate.squared_sensitivity - certificate.reached <= WIDEST_GAP * certificate.reached:
            return certificate
        break
    raise ConfigurationError(
        f"no bound can be certified for {patterns.horizon_days} days with runs of {patterns.shortest_run_days} days "
        f"and {patterns.short_cuts} short cuts",
        hint="choose a shorter horizon or fewer short cuts; noise without a certificate is not drawn",
    )


def value_of(gram: Integers, series: Sequence[int]) -> int:
    """v'Pv, exactly."""
    v = np.array(series, dtype=np.int64)
    return int(v @ gram @ v)


def _search(gram: Integers, patterns: PatternSet, window_days: int) -> Certificate | None:
    """The certificate with this window; None when more than `MOST_ENDS` ends would have to be kept."""
    automaton, horizon = patterns.automaton(), len(gram)
    alone, constant = _far_pairs(gram, window_days)
    keys, values = np.zeros(1, dtype=np.uint64), np.array([constant], dtype=np.int64)
    steps: list[tuple[Words, Integers]] = []
    for day in range(horizon):
        keys, values, parents = _next_day(gram[day], alone[day], (keys, values), automaton, day, window_days)
        if len(keys) > MOST_ENDS:
            return None
        steps.append(((keys & np.uint64(1)), parents))
    place = int(values.argmax())
    best, witness = int(values[place]), [0] * horizon
    for day in range(horizon - 1, -1, -1):
        bits, parents = steps[day]
        witness[day], place = int(bits[place]), int(parents[place])
    return Certificate(best, tuple(witness), value_of(gram, witness))


def _far_pairs(gram: Integers, window_days: int) -> tuple[Integers, int]:
    """Returns the bound that replaces pairs of days beyond the window: int64[T], one per day in, and a constant."""
    days = np.arange(len(gram))
    far = np.where(np.abs(days[:, None] - days[None, :]) > window_days, gram, 0)
    negative = np.minimum(far, 0)
    # each pair occurs twice in P, once on either side of the diagonal: 2 p v_i v_j
    return 2 * negative.sum(axis=1) + (far - negative).sum(axis=1), -int(negative.sum())


def _next_day(
    row: Integers, alone: int, ends: tuple[Words, Integers], automaton: Automaton, day: int, window_days: int
) -> tuple[Words, Integers, Integers]:
    """Returns ends, values and parents after one more day; of equal ends it keeps the one with the larger value."""
    keys, values = ends
    states = (keys >> np.uint64(STATE_SHIFT)).astype(np.int64)
    recent = (keys << np.uint64(1)) & np.uint64((1 << window_days) - 1)
    gains = row[day] + alone + _with_recent_days(row, keys, day, window_days)
    reached = [np.array(table, dtype=np.int64)[states] for table in (automaton.when_out, automaton.when_in)]
    places = [np.flatnonzero(following != REFUSED) for following in reached]
    candidates = np.concatenate(
        [
            (following[place].astype(np.uint64) << np.uint64(STATE_SHIFT)) | recent[place] | np.uint64(bit)
            for bit, (following, place) in enumerate(zip(reached, places, strict=True))
        ]
    )
    scores = np.concatenate([values[places[0]], (values + gains)[places[1]]])
    order = np.lexsort((scores, candidates))
    is_best = np.append(candidates[order][1:] != candidates[order][:-1], True)
    chosen = order[is_best]
    return candidates[chosen], scores[chosen], np.concatenate(places)[chosen].astype(np.int32)


def _with_recent_days(row: Integers, keys: Words, day: int, window_days: int) -> Integers:
    """Twice the sum of the row over the days in of each end's window, eight days at a time."""
    reach = min(day, window_days)
    weights = np.zeros(STATE_SHIFT, dtype=np.int64)
    weights[:reach] = 2 * row[day - reach : day][::-1]
    bits = (np.arange(256)[:, None] >> np.arange(8)[None, :]) & 1
    tables = bits @ weights.reshape(-1, 8).T
    total = np.zeros(len(keys), dtype=np.int64)
    for byte in range(STATE_SHIFT // 8):
        total += tables[((keys >> np.uint64(8 * byte)) & np.uint64(255)).astype(np.int64), byte]
    return total
