"""Computes the hash that Apache DataSketches gives a 64-bit number, for all numbers of an array at once.

Belongs here: MurmurHash3_x64_128 of 8 bytes. The use of the hashes belongs to `theta`.

Reference: Austin Appleby, MurmurHash3 (public domain); Apache DataSketches takes the first 64 bits, shifted right by 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

APACHE_SEED = 9001
"""The seed that every Apache sketch uses unless told otherwise."""

_KEY_BYTES = np.uint64(8)
_FIRST = np.uint64(0x87C37B91114253D5)
_SECOND = np.uint64(0x4CF5AD432745937F)
_MIX_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_MIX_SECOND = np.uint64(0xC4CEB9FE1A85EC53)


def theta_hashes(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 63-bit hash under which an Apache theta sketch files each of `keys`: uint64[n], in the order of the keys.

    Args:
        keys: uint64[n] (sensitive).
    """
    mixed = _rotated(keys * _FIRST, 31) * _SECOND
    seed = np.uint64(APACHE_SEED)
    first = (seed ^ mixed) ^ _KEY_BYTES
    second = np.full_like(first, seed ^ _KEY_BYTES)
    first = first + second
    second = second + first
    hashes: NDArray[np.uint64] = (_mixed(first) + _mixed(second)) >> np.uint64(1)
    return hashes


def _rotated(words: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Each word rotated left."""
    rotated: NDArray[np.uint64] = (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
    return rotated


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The final mix of MurmurHash3: every bit depends on every bit."""
    words = (words ^ (words >> np.uint64(33))) * _MIX_FIRST
    words = (words ^ (words >> np.uint64(33))) * _MIX_SECOND
    mixed: NDArray[np.uint64] = words ^ (words >> np.uint64(33))
    return mixed
