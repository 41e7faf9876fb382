"""Part 3: an attacker who knows everything but one user sees the values of a month and guesses whether it is there.

Half of the runs of each side choose how the guess is made, the other half bound how well it does: at most a share a of
the months without the user is called "with", and at least a share b of those with it, at a stated confidence
(Clopper-Pearson). Noise that is mu-Gaussian private allows no guess with Phi^-1(b) - Phi^-1(a) > mu, so that the bound
on mu is compared with the claim. A bound on epsilon directly is blind to noise of half the scale.

The score is linear, P v: the best there is against Gaussian noise of covariance P^-1 and a change v.

Belongs here: the game for any mechanism. The patterns v come from scenarios run with and without a user.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.mechanisms.joint_shape import IntegerRow
from dpdau_assets.evaluation.audit.chances import NORMAL, binomial_lower, binomial_upper
from dpdau_assets.evaluation.audit.claims import correlated_precision

LIMITS = np.linspace(0.25, 0.75, 51)
"""Guesses tried on the first half: scores above one of these quantiles. The best one lies in the middle."""
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GameResult:
    """What guessing achieved.

    Attributes:
        pattern: The user who is there or not.
        runs: Months drawn on each side.
        confidence: With which the bound holds.
        claimed_mu: What the events charged for the month stand for.
        pattern_mu: What the noise should let through for this pattern: at most the claim.
        observed_mu: The lower bound on mu; above the claim, the claim is false.
        false_positives: Share of months without the user called "with", of the second half.
        true_positives: Share of months with the user called "with", of the second half.
        scores: Scores of all months without and with the user, for the figure.
    """

    pattern: str
    runs: int
    confidence: float
    claimed_mu: float
    pattern_mu: float
    observed_mu: float
    false_positives: float
    true_positives: float
    scores: tuple[Scores, Scores] = field(repr=False)

    @property
    def findings(self) -> list[str]:
        """Empty unless guessing was better than claimed."""
        if self.observed_mu <= self.claimed_mu:
            return []
        return [
            f"{self.pattern}: guessed with mu at least {self.observed_mu:.3f} where {self.claimed_mu:.3f} is claimed"
        ]


def run_game(
    mechanism: Mechanism,
    with_user: Sequence[int],
    without_user: Sequence[int],
    *,
    pattern: str,
    claimed_mu: float,
    runs: int,
    confidence: float,
    source: NoiseSource,
) -> GameResult:
    """Draws months on both sides and bounds mu.

    Args:
        mechanism: The noise of the account.
        with_user: Counts of the month's releases with the user, as read by the real pipeline.
        without_user: The same without the user.
        pattern: Name of the user.
        claimed_mu: The claim to test.
        runs: Months on each side, at least 4.
        confidence: Of the bound, in (0, 1).
        source: Where the noise comes from.
    """
    moved = np.array(with_user, dtype=np.float64) - np.array(without_user, dtype=np.float64)
    weights = score_weights(mechanism, moved)
    centre = mechanism.units_per_user * float(weights @ np.array(without_user, dtype=np.float64))
    sides = tuple(
        np.array([float(weights @ _month(mechanism, counts, source)) for _ in range(runs)]) - centre
        for counts in (without_user, with_user)
    )
    pattern_mu = math.sqrt(mechanism.units_per_user * float(weights @ moved))
    return judge(
        sides[0], sides[1], pattern=pattern, claimed_mu=claimed_mu, pattern_mu=pattern_mu, confidence=confidence
    )


def run_joint_game(
    mechanism: JointGaussian,
    with_user: Sequence[IntegerRow],
    without_user: Sequence[IntegerRow],
    *,
    pattern: str,
    claimed_mu: float,
    runs: int,
    confidence: float,
    source: NoiseSource,
) -> GameResult:
    """As `run_game` for vectors of three counts."""
    moved = np.array(
        [
            np.subtract(mechanism.shape.apply(one), mechanism.shape.apply(other))
            for one, other in zip(with_user, without_user, strict=True)
        ],
        dtype=np.float64,
    )
    fresh, shared = mechanism.release_stddev**2, mechanism.shared_stddev**2
    centre = np.array(mechanism.shape.centre, dtype=np.float64)
    along, reach = float((moved @ centre).sum()), len(moved) * float(centre @ centre)
    weights = (moved - centre * along * shared / (fresh + reach * shared)) / fresh
    base = float((weights * np.array([mechanism.shape.apply(row) for row in without_user])).sum())

    def months(counts: Sequence[IntegerRow]) -> Scores:
        scores = []
        for _ in range(runs):
            shared_noise = mechanism.draw_shared_noise(source)
            drawn = np.array(
                [mechanism.draw(row, source, shared_noise=shared_noise) for row in counts], dtype=np.float64
            )
            scores.append(float((weights * drawn).sum()) - base)
        return np.array(scores)

    return judge(
        months(without_user),
        months(with_user),
        pattern=pattern,
        claimed_mu=claimed_mu,
        pattern_mu=math.sqrt(float((weights * moved).sum())),
        confidence=confidence,
    )


def score_weights(mechanism: Mechanism, moved: Scores) -> Scores:
    """P v of a change `moved`, in users."""
    change = mechanism.units_per_user * moved
    if isinstance(mechanism, CorrelatedGaussian):
        weights: Scores = correlated_precision(mechanism, len(change)) @ change
        return weights
    return change / mechanism.noise_variance()


def judge(
    absent: Scores, present: Scores, *, pattern: str, claimed_mu: float, pattern_mu: float, confidence: float
) -> GameResult:
    """Chooses a threshold on the first half of the scores and bounds mu on the second."""
    half, alpha = len(absent) // 2, (1 - confidence) / 2
    limits = np.quantile(np.concatenate((absent[:half], present[:half])), LIMITS)
    best = max(limits, key=lambda limit: _roughly(absent[:half], present[:half], limit))
    rest = absent[half:], present[half:]
    return GameResult(
        pattern=pattern,
        runs=len(absent),
        confidence=confidence,
        claimed_mu=claimed_mu,
        pattern_mu=pattern_mu,
        observed_mu=max(0.0, _bound(*rest, best, alpha)),
        false_positives=float((rest[0] > best).mean()),
        true_positives=float((rest[1] > best).mean()),
        scores=(absent, present),
    )


def _month(mechanism: Mechanism, counts: Sequence[int], source: NoiseSource) -> Scores:
    shared_noise = mechanism.draw_shared_noise(source)
    return np.array([mechanism.draw(count, source, shared_noise=shared_noise) for count in counts], dtype=np.float64)


def _roughly(absent: Scores, present: Scores, limit: float) -> float:
    """About the mu that guessing "with" above `limit` shows, with half a month added to each side against extremes."""
    shares = [(float((side > limit).sum()) + 0.5) / (len(side) + 1) for side in (absent, present)]
    return NORMAL.inv_cdf(shares[1]) - NORMAL.inv_cdf(shares[0])


def _bound(absent: Scores, present: Scores, limit: float, alpha: float) -> float:
    """The lower bound on mu from guessing "with" above `limit`."""
    most_false = binomial_upper(int((absent > limit).sum()), len(absent), alpha=alpha)
    least_true = binomial_lower(int((present > limit).sum()), len(present), alpha=alpha)
    if not (least_true > 0 and most_false < 1):
        return -math.inf
    return NORMAL.inv_cdf(least_true) - NORMAL.inv_cdf(most_false)
