"""`hll`: the sketch that keeps, for each of m buckets, how small its smallest key is. One byte a bucket.

Keys are uniform 64-bit hashes: the bucket is key mod m, the register holds 1 + the number of leading zeros of the
bucket's smallest key, 0 for an empty bucket. A register is L or more exactly when its bucket holds a key below
2^(65 - L): the level count at L is the number of buckets hit by the keys below a public threshold, as in `kmv`, and
that number, not a HyperLogLog estimate, is what may be released. Registers cannot forget: a day with an erased user is
made again from its live users, its other days' registers are read as they are stored.

Reference: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007) for the registers; Whang, Vander-Zanden, Taylor, "A
linear-time probabilistic counting algorithm" (1990) for n = -m ln(1 - c/m).
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.sketches.codec import seal, unseal
from dpdau_assets.core.sketches.protocol import KEY_SPACE, Keys, check_keys, check_threshold, is_power_of_two
from dpdau_assets.errors import DataError, InternalError

LARGEST_REGISTER = 65
"""The register of a bucket that holds key 0: 64 leading zeros."""
HLL_DEVIATION = 1.24
"""Relative standard deviation of a count read at its best level, times sqrt(m): sqrt(e^x - 1) / x at x = 1.59."""
FULLEST = 0.8
"""An estimate is read at the first level that at most this share of the buckets reaches, where it is most precise."""

Registers = NDArray[np.uint8]
"""uint8[m]: 1 + leading zeros of the smallest key of each bucket, 0 without one (sensitive)."""


class HllSketch:
    """`m` registers of a set of keys; two sketches with different m unite under the smaller one."""

    __slots__ = ("_registers",)
    impl: ClassVar[str] = "hll"

    def __init__(self, registers: Registers) -> None:
        if registers.ndim != 1 or not is_power_of_two(registers.size):
            raise InternalError("an hll sketch needs a power of two of registers")
        self._registers = registers.view()
        self._registers.flags.writeable = False

    @classmethod
    def from_keys(cls, keys: Keys, *, m: int) -> Self:
        """The sketch of `keys`.

        Args:
            keys: uint64[n], strictly increasing (sensitive).
            m: Number of buckets, a power of two (public).
        """
        if not is_power_of_two(m):
            raise InternalError(f"an hll sketch cannot have {m} buckets")
        descending = check_keys(keys)[::-1]  # the smallest key of a bucket is written last, and stays
        registers = np.zeros(m, dtype=np.uint8)
        registers[(descending & np.uint64(m - 1)).astype(np.intp)] = _registers_of(descending)
        return cls(registers)

    @property
    def m(self) -> int:
        """Number of buckets (public)."""
        return self._registers.size

    @property
    def complete(self) -> bool:
        """Returns whether the sketch knows all keys of the set, which is true of the empty set only (sensitive)."""
        return not self._registers.any()

    def union(self, other: Self) -> Self:
        """The sketch of the union of the two sets; the smaller m folds the larger one.

        Guarantee: exact, because the smallest key of a bucket of the union is the smaller of the two buckets' smallest
        keys, and bucket b of m holds what buckets b, b + m, b + 2 m, ... hold.
        """
        m = min(self.m, other.m)
        return type(self)(np.maximum(self._folded(m), other._folded(m)))

    def discard(self, keys: Keys) -> Self:
        """Returns the empty sketch itself, which holds no keys; raises InternalError for any other sketch."""
        check_keys(keys)
        if not self.complete:
            raise InternalError("an hll sketch cannot drop a key: rebuild it from the live users")
        return self

    def estimate(self) -> float:
        """The number of keys, relative standard deviation about 1.24 / sqrt(m) (sensitive; never to be released)."""
        level = 1
        while level < LARGEST_REGISTER and self._reached(level) > FULLEST * self.m:
            level += 1
        reached = min(self._reached(level), self.m - 0.5)
        return -self.m * math.ldexp(math.log1p(-reached / self.m), level - 1)

    def threshold_count(self, threshold: int) -> int:
        """Buckets hit by keys below `threshold`, a power of two: the level count (sensitive).

        Guarantee: adding one user changes it by 0 or 1, because a key hits one bucket.

        Raises:
            InternalError: The registers do not know the number at this threshold.
        """
        if not is_power_of_two(check_threshold(threshold)):
            raise InternalError(f"an hll sketch cannot count below {threshold}: it is no power of two")
        return self._reached(KEY_SPACE.bit_length() - threshold.bit_length() + 1)

    def to_bytes(self) -> bytes:
        """Versioned bytes (sensitive): the registers, sealed."""
        return seal(self._registers.tobytes(), impl=self.impl)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """The sketch that `to_bytes` wrote; DataError when it did not write these bytes."""
        registers = np.frombuffer(unseal(stored, impl=cls.impl), dtype=np.uint8)
        if not is_power_of_two(registers.size) or registers.max() > LARGEST_REGISTER:
            raise DataError(
                "a stored sketch contradicts itself",
                hint="run `dpdau rebuild` over the day: a sketch is made again from the live users",
            )
        return cls(registers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HllSketch) and np.array_equal(self._registers, other._registers)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"HllSketch(m={self.m})"

    def _reached(self, level: int) -> int:
        """Number of registers at `level` or above."""
        return int(np.count_nonzero(self._registers >= level))

    def _folded(self, m: int) -> Registers:
        """The registers of the same set with `m` buckets, m at most our own."""
        if m == self.m:
            return self._registers
        folded: Registers = self._registers.reshape(-1, m).max(axis=0)
        return folded


def _registers_of(keys: Keys) -> Registers:
    """1 + the number of leading zeros of each key."""
    high, low = (keys >> np.uint64(32)), (keys & np.uint64(2**32 - 1))
    # frexp gives the exact bit length of a number below 2^53; 0 has bit length 0.
    bits = np.where(high > 0, 32 + np.frexp(high.astype(np.float64))[1], np.frexp(low.astype(np.float64))[1])
    registers: Registers = (LARGEST_REGISTER - bits).astype(np.uint8)
    return registers
