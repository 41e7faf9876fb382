"""`kmv`: the sketch that keeps the k smallest keys (bottom-k).

User keys are already uniform 64-bit hashes, so the key is its own hash. The released number is the capped
threshold count; which threshold is public and how noise is added does not belong here (`core.release`).

Reference: Bar-Yossef et al., "Counting distinct elements in a data stream" (2002), algorithm 2; Cohen and Kaplan,
"Summarizing data using bottom-k sketches" (2007).
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from dpdau_assets.core.sketches.codec import SketchContent, decode, encode
from dpdau_assets.core.sketches.protocol import KEY_SPACE, Keys, check_keys, count_below, merge, without
from dpdau_assets.errors import InternalError


class KmvSketch:
    """The first `k` keys of a set in increasing order.

    Invariant: a sketch that is not complete holds exactly `k` keys, and they are the k smallest of the set.
    """

    __slots__ = ("_complete", "_keys", "k")
    impl: ClassVar[str] = "kmv"

    def __init__(self, keys: Keys, *, k: int, complete: bool) -> None:
        if k < 1 or keys.size > k or not (complete or keys.size == k):
            raise InternalError(f"a kmv sketch of capacity {k} was given keys that do not fit it")
        self._keys = check_keys(keys)
        self._complete = complete
        self.k = k

    @classmethod
    def from_keys(cls, keys: Keys, *, k: int) -> Self:
        """The sketch of `keys`.

        Args:
            keys: uint64[n], strictly increasing (sensitive).
            k: Capacity, 1 or more (public).
        """
        # This is a copy, so that a sketch of few keys never keeps all keys of a day in memory.
        return cls(keys[:k].copy(), k=k, complete=keys.size <= k)

    @property
    def complete(self) -> bool:
        """Returns whether nothing was ever evicted (sensitive)."""
        return self._complete

    def union(self, other: Self) -> Self:
        """Returns the sketch of the union of the two sets, with the smaller of the two capacities.

        Guarantee: bottom-k of the two bottom-k's is the bottom-k of the union, because a key among the k smallest
        of the union is among the k smallest of every set that holds it.
        """
        k = min(self.k, other.k)
        keys = merge(self._keys, other._keys)
        complete = self._complete and other._complete and keys.size <= k
        return type(self)(keys[:k].copy(), k=k, complete=complete)

    def discard(self, keys: Keys) -> Self:
        """The sketch without `keys`; InternalError when it is not complete."""
        if not self._complete:
            raise InternalError("a saturated kmv sketch cannot drop a key: rebuild it from the live users")
        return type(self)(without(self._keys, check_keys(keys)), k=self.k, complete=True)

    def estimate(self) -> float:
        """The number of keys: exact when complete, else (k - 1) / (k-th smallest key as a fraction of 2^64).

        Unbiased with relative standard deviation about 1 / sqrt(k - 2) (sensitive; never to be released).
        """
        if self._complete:
            return float(self._keys.size)
        return (self.k - 1) * KEY_SPACE / (int(self._keys[-1]) + 1)

    def threshold_count(self, threshold: int) -> int:
        """min(k, number of keys of the set below `threshold`) (sensitive).

        Guarantee: adding one user changes it by 0 or 1: the count of the whole set does, and a cap cannot widen
        that. The cap is applied to the union, never to days that are then added.
        """
        return count_below(self._keys, threshold)

    def to_bytes(self) -> bytes:
        """Versioned bytes (sensitive)."""
        return encode(SketchContent(self.impl, self._keys, capacity=self.k, complete=self._complete))

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The sketch that `to_bytes` wrote; DataError when it did not write these bytes."""
        content = decode(stored, impl=cls.impl)
        return cls(content.keys, k=content.capacity, complete=content.complete)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KmvSketch):
            return False
        same_kind = (self.k, self._complete) == (other.k, other._complete)
        return same_kind and np.array_equal(self._keys, other._keys)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"KmvSketch(k={self.k})"
