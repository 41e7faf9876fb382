"""What every sketch of a set of pseudonyms can do; the laws are in dpdau_tests/laws/test_distinct_sketch.py.

A sketch summarises which user keys of one epoch were live on a day or in a window. Two sketches may be combined
only when their keys come from the same epoch. Noise and privacy accounting do not belong here: a sketch gives
exact numbers, all of them sensitive.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.errors import InternalError

KEY_SPACE = 2**64
"""Number of possible user keys; the threshold that every key lies below (theta = 1)."""

Keys = NDArray[np.uint64]
"""uint64[n], strictly increasing: sorted and without repeats (sensitive)."""


@runtime_checkable
class DistinctSketch(Protocol):
    """An immutable summary of a set of user keys.

    Attributes:
        impl: Name of the implementation as in SKETCH_IMPL (public).
        complete: True when no key was ever evicted, so that the sketch knows the whole set (sensitive).
    """

    impl: ClassVar[str]

    @property
    def complete(self) -> bool: ...

    def union(self, other: Self) -> Self:
        """The sketch of the union of the two sets.

        Guarantee: commutative, associative, idempotent; equal to the sketch built from the union of the keys with
        the smaller of the two capacities (k, m or threshold).
        """
        ...

    def discard(self, keys: Keys) -> Self:
        """The sketch of the set without `keys` (sensitive); keys it does not hold change nothing.

        Raises:
            InternalError: The sketch cannot know what is left (a saturated kmv, an hll): it must be rebuilt.
        """
        ...

    def estimate(self) -> float:
        """The number of keys, exact when `complete` (sensitive).

        One user can move an estimate by far more than 1: it must never be released, with noise or without.
        """
        ...

    def threshold_count(self, threshold: int) -> int:
        """How many keys lie below `threshold`: `kmv` at most k of them, `theta` by their hashes, `hll` the buckets
        that they hit (sensitive).

        Guarantee: adding one user to the set changes it by 0 or 1, whatever the other keys, also after unions of
        saturated sketches of different capacities. This is the number to release.

        Args:
            threshold: 1 to `KEY_SPACE`, fixed before the sketch was looked at (public).

        Raises:
            InternalError: No threshold, or one that this sketch cannot answer: above theta's own, or for hll no
                power of two.
        """
        ...

    def to_bytes(self) -> bytes:
        """The sketch as versioned bytes; equal sketches give equal bytes (sensitive)."""
        ...

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The sketch that `to_bytes` wrote.

        Raises:
            DataError: The bytes are damaged, of another version or of another implementation.
        """
        ...


def check_keys(keys: Keys) -> Keys:
    """`keys`, read-only, after checking that they are user keys in strictly increasing order.

    Raises:
        InternalError: They are not.
    """
    if keys.dtype != np.uint64 or keys.ndim != 1 or not bool((keys[1:] > keys[:-1]).all()):
        raise InternalError("a sketch was given keys that are not sorted and unique")
    frozen = keys.view()
    frozen.flags.writeable = False
    return frozen


def check_threshold(threshold: int) -> int:
    """`threshold` after checking that it is one.

    Raises:
        InternalError: It lies outside 1 to `KEY_SPACE`.
    """
    if not 1 <= threshold <= KEY_SPACE:
        raise InternalError(f"a threshold of {threshold} lies outside 1 to 2^64")
    return threshold


def is_power_of_two(number: int) -> bool:
    """Returns whether `number` is 1, 2, 4, ..."""
    return number > 0 and number & (number - 1) == 0


def count_below(keys: Keys, threshold: int) -> int:
    """Number of `keys` below `threshold` (1 to `KEY_SPACE`)."""
    if check_threshold(threshold) == KEY_SPACE:
        return int(keys.size)
    return int(np.searchsorted(keys, np.uint64(threshold), side="left"))


def merge(first: Keys, second: Keys) -> Keys:
    """The sorted union of two sorted key arrays, in time linear in their lengths."""
    both = np.concatenate((first, second))
    both.sort(kind="stable")  # merges the two runs
    if both.size == 0:
        return both
    is_new = np.empty(both.size, dtype=np.bool_)
    is_new[0] = True
    np.not_equal(both[1:], both[:-1], out=is_new[1:])
    union: Keys = both[is_new]
    return union


def without(keys: Keys, discarded: Keys) -> Keys:
    """`keys` without `discarded`, both sorted."""
    if discarded.size == 0 or keys.size == 0:
        return keys
    position = np.minimum(np.searchsorted(discarded, keys), discarded.size - 1)
    kept: Keys = keys[discarded[position] != keys]
    return kept
