"""What every sketch should say about a plain set of keys, worked out one key at a time; and how each is made.

The oracles share no code with the sketches: MurmurHash3 is written with Python's integers here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dpdau_assets.core.sketches.exact import ExactSketch
from dpdau_assets.core.sketches.hll import HllSketch
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.theta import ThetaSketch

MASK = KEY_SPACE - 1


def array(keys: Iterable[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The keys as a sketch wants them."""
    return np.array(sorted(keys), dtype=np.uint64)


@cache
def murmur_of_key(key: int, *, seed: int = 9001) -> int:
    """The 63-bit hash that Apache DataSketches gives a 64-bit number."""

    def rotate(word: int, bits: int) -> int:
        return ((word << bits) | (word >> (64 - bits))) & MASK

    def mix(word: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            word = ((word ^ (word >> 33)) * factor) & MASK
        return word ^ (word >> 33)

    first = seed ^ (rotate(key * 0x87C37B91114253D5 & MASK, 31) * 0x4CF5AD432745937F & MASK)
    first, second = first ^ 8, seed ^ 8
    first = (first + second) & MASK
    second = (second + first) & MASK
    return ((mix(first) + mix(second)) & MASK) >> 1


@dataclass(frozen=True)
class Kind:
    """One implementation: how it is made with a size parameter, and what it then says about a set.

    Attributes:
        name: As in SKETCH_IMPL.
        sizes: Parameters to try: k, m, or the bits by which theta samples.
    """

    name: str
    sizes: tuple[int, ...]

    def make(self, keys: Iterable[int], size: int) -> Any:
        """The sketch of `keys`."""
        if self.name == "set":
            return ExactSketch.from_keys(array(keys))
        if self.name == "kmv":
            return KmvSketch.from_keys(array(keys), k=size)
        if self.name == "hll":
            return HllSketch.from_keys(array(keys), m=size)
        return ThetaSketch.from_keys(array(keys), threshold=self.own_threshold(size))

    def own_threshold(self, size: int) -> int:
        """theta's sampling threshold: a larger size samples more, like every other size."""
        return KEY_SPACE >> (self.sizes[-1] - size) if self.name == "theta" else KEY_SPACE

    def answers(self, threshold: int, size: int) -> bool:
        """Whether the sketch knows the count at this threshold."""
        if self.name == "hll":
            return math.log2(threshold).is_integer() and 2 ** int(math.log2(threshold)) == threshold
        return threshold <= self.own_threshold(size)

    def count(self, keys: Iterable[int], size: int, threshold: int) -> int:
        """What `threshold_count` should say."""
        if self.name == "theta":
            return sum(0 < murmur_of_key(key) < MASK >> 1 and 2 * murmur_of_key(key) < threshold for key in keys)
        below = [key for key in keys if key < threshold]
        if self.name == "hll":
            return len({key % size for key in below})
        return min(len(below), size) if self.name == "kmv" else len(below)

    def is_complete(self, keys: Iterable[int], size: int) -> bool:
        """Whether the sketch knows the whole set."""
        if self.name == "theta":
            return self.own_threshold(size) == KEY_SPACE
        capacity = {"set": KEY_SPACE, "kmv": size, "hll": 0}[self.name]
        return len(list(keys)) <= capacity

    def discards(self, keys: Iterable[int], size: int) -> bool:
        """Whether the sketch can drop keys in place."""
        return self.name == "theta" or self.is_complete(keys, size)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("set", (1,)),
        Kind("kmv", (1, 2, 5, 16, 40)),
        Kind("hll", (1, 2, 4, 16, 64)),
        Kind("theta", (1, 2, 3, 4)),
    )
}
