"""`theta`: the sample of every key whose hash lies below a threshold fixed by configuration.

A fixed threshold samples users, not days: unions and deletions are exact on the sample, one user changes its size by 0
or 1, and dividing by theta estimates all users. No key is ever evicted, so the size grows with the users; the usual
theta sketch, which lowers its theta when it is full, would let the data choose the threshold and is not made here.
Hashes and bytes are those of Apache DataSketches: any of its programs reads the stored bytes as a compact theta sketch
and may unite it with its own sketches of the same pseudonyms. Their bytes belong to `apache`.

Reference: Dasgupta, Lang, Rhodes, Thaler, "A framework for estimating stream expression cardinalities" (2016), with
the constant threshold function; Apache DataSketches, theta sketch with up-front sampling probability p = theta.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.sketches.apache import WHOLE, read_compact, write_compact
from dpdau_assets.core.sketches.codec import seal, unseal
from dpdau_assets.core.sketches.murmur import theta_hashes
from dpdau_assets.core.sketches.protocol import (
    KEY_SPACE,
    Keys,
    check_keys,
    check_threshold,
    count_below,
    is_power_of_two,
    merge,
    without,
)
from dpdau_assets.errors import DataError, InternalError


class ThetaSketch:
    """The hashes of a set of keys that lie below theta = `threshold` / 2^64, a power of two.

    Two thresholds unite under the smaller one. A hash is a number of 63 bits; 0 and the largest are never kept, in
    Apache's sketches as here, which one user in 2^62 would notice.
    """

    __slots__ = ("_hashes", "threshold")
    impl: ClassVar[str] = "theta"

    def __init__(self, hashes: NDArray[np.uint64], *, threshold: int) -> None:
        self._hashes = check_keys(hashes)
        self.threshold = _check_sampling(threshold)

    @classmethod
    def from_keys(cls, keys: Keys, *, threshold: int) -> Self:
        """The sketch of `keys`.

        Args:
            keys: uint64[n], strictly increasing (sensitive).
            threshold: theta times 2^64, a power of two from 2 (public).
        """
        hashes = np.sort(_kept(theta_hashes(check_keys(keys)), _check_sampling(threshold)))
        return cls(_without_repeats(hashes), threshold=threshold)

    @property
    def complete(self) -> bool:
        """Returns whether every user is kept, which configuration alone decides."""
        return self.threshold == KEY_SPACE

    def union(self, other: Self) -> Self:
        """The sketch of the union of the two sets; the smaller threshold rules."""
        threshold = min(self.threshold, other.threshold)
        return type(self)(merge(self._below(threshold), other._below(threshold)), threshold=threshold)

    def discard(self, keys: Keys) -> Self:
        """The sketch without `keys`: exact, sampled or not."""
        discarded = np.sort(_kept(theta_hashes(check_keys(keys)), self.threshold))
        return type(self)(without(self._hashes, discarded), threshold=self.threshold)

    def estimate(self) -> float:
        """Kept users / theta: unbiased, of variance n (1 - theta) / theta (sensitive)."""
        return self._hashes.size * (KEY_SPACE / self.threshold)

    def threshold_count(self, threshold: int) -> int:
        """How many users of the set have a hash below `threshold` / 2^64 (sensitive).

        Guarantee: adding one user changes it by 0 or 1.

        Args:
            threshold: At most the sketch's own, which releases use (public).

        Raises:
            InternalError: It is larger: those users were not kept.
        """
        if check_threshold(threshold) > self.threshold:
            raise InternalError("a theta sketch was asked about users that it does not sample")
        return count_below(self._hashes, KEY_SPACE if threshold == KEY_SPACE else (threshold + 1) // 2)

    def to_bytes(self) -> bytes:
        """Versioned bytes (sensitive): Apache's compact form, sealed; Apache's readers stop before the seal."""
        return seal(write_compact(self._hashes, theta=_apache_theta(self.threshold)), impl=self.impl)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The sketch that `to_bytes` wrote; DataError when it did not write these bytes."""
        content = read_compact(unseal(stored, impl=cls.impl))
        return cls(content.hashes, threshold=KEY_SPACE if content.theta == WHOLE else 2 * content.theta)

    @classmethod
    def from_apache(cls, stored: bytes, *, threshold: int) -> Self:
        """The sketch of the keys that an Apache theta sketch was given.

        Args:
            stored: A compact theta sketch in any of Apache's forms; its keys were our pseudonyms, given as 64-bit
                integers, signed or not (sensitive).
            threshold: theta times 2^64, a power of two from 2, fixed beforehand (public).

        Raises:
            DataError: The bytes are no sketch, or that sketch was full and lowered its theta below the threshold: its
                theta then tells about the data, and no count at `threshold` can be made from it.
        """
        content = read_compact(stored)
        if content.theta < _apache_theta(_check_sampling(threshold)) and not content.is_empty:
            raise DataError(
                "an Apache theta sketch keeps fewer hashes than the threshold asks for",
                hint="make it with a larger nominal size (lg_k) and with p no smaller than theta",
            )
        return cls(_kept(content.hashes, threshold), threshold=threshold)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ThetaSketch):
            return False
        return self.threshold == other.threshold and np.array_equal(self._hashes, other._hashes)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ThetaSketch(theta=2^-{KEY_SPACE.bit_length() - self.threshold.bit_length()})"

    def _below(self, threshold: int) -> NDArray[np.uint64]:
        """The hashes that a smaller threshold keeps."""
        return self._hashes if threshold == self.threshold else _kept(self._hashes, threshold)


def _check_sampling(threshold: int) -> int:
    """`threshold` after checking that it is one that a sketch samples by."""
    if not 2 <= threshold <= KEY_SPACE or not is_power_of_two(threshold):
        raise InternalError(f"a theta sketch cannot sample below {threshold}")
    return threshold


def _apache_theta(threshold: int) -> int:
    """Returns a threshold in Apache's units of 2^-63, where theta = 1 is one less than a power of two."""
    return WHOLE if threshold == KEY_SPACE else threshold // 2


def _kept(hashes: NDArray[np.uint64], threshold: int) -> NDArray[np.uint64]:
    """Those of `hashes` that a sketch of this threshold keeps, in their order."""
    kept: NDArray[np.uint64] = hashes[(hashes > 0) & (hashes < np.uint64(_apache_theta(threshold)))]
    return kept


def _without_repeats(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted hashes once each: two keys share one with probability 2^-63."""
    return hashes if bool((hashes[1:] > hashes[:-1]).all()) else np.unique(hashes)
