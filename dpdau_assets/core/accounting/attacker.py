"""Bounds how often an attacker can recognise that a person is in the data, given a loss.

An attacker knows everything except whether one user is in the data, sees what was released and answers "there" or "not
there". "There" is a false positive if the user is not in the data, and a true positive otherwise. Every (epsilon,
delta) that the releases satisfy bounds the true positives t for a share a of false positives, in both directions of the
neighbouring relation:

    t <= exp(epsilon) a + delta    and    1 - t >= exp(-epsilon) (1 - a - delta)

and the privacy loss distribution gives a delta for every epsilon, so that the smallest bound over epsilon is the
complete trade-off.

Belongs here: that bound, and its closed form for Gaussian privacy. Does not belong here: any attack.

Reference: Wasserman and Zhou (2010), "A statistical framework for differential privacy", Theorem 2.4; Dong, Roth, Su
(2022), "Gaussian differential privacy", Propositions 2.4 and 2.12.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

from dpdau_assets.core.accounting.pld import pld_delta
from dpdau_assets.core.dp_events import EventCounts

LARGEST_LOSS = 50.0
"""Largest loss that is tried, because above it no bound is informative."""
STEPS = 22
"""Steps of a search whose interval shrinks by 0.618 each time, down to 1e-3 of a loss, where bounds are flat."""
GOLDEN = (math.sqrt(5) - 1) / 2
NORMAL = NormalDist()


def true_positive_bound(events: EventCounts, *, false_positives: float) -> float:
    """Returns the largest share of true positives that any attacker reaches at a share of false positives.

    Every loss that is tried gives a valid bound, so the result is a valid bound wherever the search ends.

    Args:
        events: What was released; none means guessing.
        false_positives: Share of data sets without the user that the attacker calls "there", in (0, 1).
    """
    if not events:
        return false_positives
    above = _smallest(lambda loss: math.exp(loss) * false_positives + pld_delta(events, loss))
    below = _smallest(lambda loss: 1 - math.exp(-loss) * (1 - false_positives - pld_delta(events, loss)))
    return min(1.0, above, below)


def _smallest(bound: Callable[[float], float]) -> float:
    """Returns the smallest value of a bound over losses by golden section, because the bound falls and then rises."""
    low, high = 0.0, LARGEST_LOSS
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = bound(left), bound(right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = bound(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = bound(right)
    return min(at_left, at_right, bound(0.0))


def gaussian_true_positives(mu: float, *, false_positives: float) -> float:
    """Returns the exact largest share of true positives under mu-Gaussian privacy: Phi(mu + Phi^-1(a)).

    Args:
        mu: >= 0.
        false_positives: In (0, 1).
    """
    return NORMAL.cdf(mu + NORMAL.inv_cdf(false_positives))
