"""A-not-B: how many users of one window are not in another, for retention and churn on the trusted side.

Belongs here: the estimate from two sketches, exactly compared or through a Bloom filter, and the bias that a filter
brings. Nothing here may be released: a difference of two windows is a metric of its own without a budget, and through a
filter one erased user can drop dozens of others from it.

Both sets are compared below one public threshold, where both samples are complete: the estimate is the number of A's
sampled users that are not among B's, divided by theta. With a filter over B's sample, each user that should be counted
is missed with the filter's false-positive rate f, so the expectation is (1 - f) |A \\ B| and the bias -f |A \\ B|.

Reference: Dasgupta, Lang, Rhodes, Thaler, "A framework for estimating stream expression cardinalities" (2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dpdau_assets.core.sketches.bloom import BloomFilter
from dpdau_assets.core.sketches.protocol import KEY_SPACE, Keys, check_keys, count_below


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """An estimate of |A \\ B| (sensitive; never to be released).

    Attributes:
        users: The estimate.
        predicted_bias: What the Bloom filter is expected to add to it, in users: 0 or below; 0 without a filter.
    """

    users: float
    predicted_bias: float


def a_not_b(first: Keys, second: Keys, *, threshold: int = KEY_SPACE, fp_rate: float | None = None) -> Difference:
    """How many keys of `first` are not in `second`, estimated from those below `threshold`.

    Args:
        first: Keys of A, of one epoch: uint64[n], strictly increasing, complete below `threshold` (sensitive).
        second: Keys of B, of the same epoch, in the same form (sensitive).
        threshold: theta times 2^64 (public); at 2^64 without a filter the number is exact.
        fp_rate: Compare through a Bloom filter over B with this false-positive rate; None compares exactly.
    """
    sampled_first = check_keys(first)[: count_below(first, threshold)]
    sampled_second = check_keys(second)[: count_below(second, threshold)]
    users_per_kept = KEY_SPACE / threshold
    if fp_rate is None:
        left = np.setdiff1d(sampled_first, sampled_second, assume_unique=True).size
        return Difference(left * users_per_kept, 0.0)
    bloom = BloomFilter.from_keys(sampled_second, fp_rate=fp_rate)
    users = float(np.count_nonzero(~bloom.has(sampled_first))) * users_per_kept
    rate = bloom.predicted_fp_rate()
    return Difference(users, -users * rate / (1 - rate))
