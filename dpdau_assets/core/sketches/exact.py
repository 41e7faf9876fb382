"""`set`: the sketch that keeps every key. It is exact at any size and takes 8 bytes per user.

Bounded memory does not belong here (`kmv`).
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from dpdau_assets.core.sketches.codec import SketchContent, decode, encode
from dpdau_assets.core.sketches.protocol import KEY_SPACE, Keys, check_keys, count_below, merge, without


class ExactSketch:
    """All keys of a set. The sketch is always complete: its capacity is the key space."""

    __slots__ = ("_keys",)
    impl: ClassVar[str] = "set"

    def __init__(self, keys: Keys) -> None:
        self._keys = check_keys(keys)

    @classmethod
    def from_keys(cls, keys: Keys) -> Self:
        """The sketch of `keys`: uint64[n], strictly increasing (sensitive)."""
        return cls(keys)

    @property
    def complete(self) -> bool:
        """Always true."""
        return True

    def union(self, other: Self) -> Self:
        """The sketch of the union of the two sets."""
        return type(self)(merge(self._keys, other._keys))

    def discard(self, keys: Keys) -> Self:
        """The sketch without `keys`."""
        return type(self)(without(self._keys, check_keys(keys)))

    def estimate(self) -> float:
        """The exact number of keys (sensitive)."""
        return float(self._keys.size)

    def threshold_count(self, threshold: int) -> int:
        """The exact number of keys below `threshold` (sensitive); with `KEY_SPACE`, of all keys."""
        return count_below(self._keys, threshold)

    def to_bytes(self) -> bytes:
        """Versioned bytes (sensitive)."""
        return encode(SketchContent(self.impl, self._keys, capacity=KEY_SPACE - 1, complete=True))

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The sketch that `to_bytes` wrote; DataError when it did not write these bytes."""
        return cls(decode(stored, impl=cls.impl).keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExactSketch) and np.array_equal(self._keys, other._keys)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "ExactSketch()"
