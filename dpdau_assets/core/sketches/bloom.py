"""A Bloom filter over user keys, which stores bits instead of keys and therefore has false positives.

Belongs here: the filter and its predicted error. Differences of sets belong to `difference`. It serves experiments: no
value computed through a Bloom filter may be released, because one user can change the bits by which a thousand others
are looked up.

Reference: Bloom, "Space/time trade-offs in hash coding with allowable errors" (1970); Kirsch and Mitzenmacher, "Less
hashing, same performance" (2006), for deriving all positions from two hashes.
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.sketches.murmur import theta_hashes
from dpdau_assets.core.sketches.protocol import Keys, check_keys
from dpdau_assets.errors import InternalError

SMALLEST_BITS = 64


class BloomFilter:
    """A set of keys that answers `has` with no false negatives and a known share of false positives."""

    __slots__ = ("_bits", "n_bits", "n_hashes")

    def __init__(self, bits: NDArray[np.bool_], *, n_hashes: int) -> None:
        self._bits = bits
        self.n_bits = bits.size
        self.n_hashes = n_hashes

    @classmethod
    def from_keys(cls, keys: Keys, *, fp_rate: float) -> Self:
        """Returns the smallest filter of `keys` with that rate: -n ln f / (ln 2)^2 bits, -log2 f positions per key.

        Args:
            keys: uint64[n], strictly increasing (sensitive).
            fp_rate: f, the share of other keys that it may take for its own, in (0, 1) (public).
        """
        if not 0 < fp_rate < 1:
            raise InternalError(f"a Bloom filter cannot have a false-positive rate of {fp_rate}")
        n_bits = max(SMALLEST_BITS, math.ceil(-check_keys(keys).size * math.log(fp_rate) / math.log(2) ** 2))
        filled = cls(np.zeros(n_bits, dtype=np.bool_), n_hashes=max(1, round(-math.log2(fp_rate))))
        for positions in filled._positions(keys):
            filled._bits[positions] = True
        return filled

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """For each of `keys` whether the filter takes it for its own: bool[n]; true for every key it was made of."""
        found = np.ones(keys.size, dtype=np.bool_)
        for positions in self._positions(keys):
            found &= self._bits[positions]
        return found

    def predicted_fp_rate(self) -> float:
        """The share of other keys that it takes for its own: (share of bits set) ^ (positions of a key)."""
        return float(np.mean(self._bits) ** self.n_hashes)

    def __repr__(self) -> str:
        return f"BloomFilter(n_bits={self.n_bits}, n_hashes={self.n_hashes})"

    def _positions(self, keys: Keys) -> list[NDArray[np.intp]]:
        """The bits of every key, one array for each of its positions."""
        # A key is a uniform hash itself; the second must not be a function of the first modulo n_bits.
        step = theta_hashes(keys) | np.uint64(1)
        numbers = np.arange(self.n_hashes, dtype=np.uint64)
        return [((keys + number * step) % np.uint64(self.n_bits)).astype(np.intp) for number in numbers]
