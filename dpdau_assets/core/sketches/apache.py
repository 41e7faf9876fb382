"""Apache DataSketches' compact theta sketches: their bytes, read and written by Apache's own code.

Belongs here: the one import of the optional package `datasketches` (extra `theta`), and the layout of the simplest
form of their bytes, through which hashes go in and out of it. What a theta sketch is belongs to `theta`.

Reference: Apache DataSketches, "Theta sketch serialization", serial version 3, family 3 (compact); newer and
compressed forms are read as well, because Apache's code reads them.
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpdau_assets.core.sketches.murmur import APACHE_SEED
from dpdau_assets.errors import ConfigurationError, DataError

PACKAGE = "datasketches"
WHOLE = 2**63 - 1
"""Apache's theta of a sketch that samples nothing: its fractions are of 2^63."""

_PREAMBLE = struct.Struct("<BBBBBBH")
_COUNT = struct.Struct("<If")
_THETA = struct.Struct("<Q")
_SERIAL_VERSION, _COMPACT_FAMILY = 3, 3
_READ_ONLY, _EMPTY, _COMPACT, _ORDERED = 2, 4, 8, 16
_NOT_APACHE = "the bytes are not a compact theta sketch of Apache DataSketches with its usual seed"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ApacheTheta:
    """What a compact theta sketch holds (sensitive).

    Attributes:
        hashes: uint64[n], strictly increasing, each 1 to `theta` - 1.
        theta: Its theta in units of 2^-63, 1 to `WHOLE`.
        is_empty: Whether it was never given a key.
    """

    hashes: NDArray[np.uint64]
    theta: int
    is_empty: bool


def is_installed() -> bool:
    """Returns whether the package `datasketches` can be imported; does not import it."""
    return importlib.util.find_spec(PACKAGE) is not None


def require_installed() -> None:
    """Raises unless the package `datasketches` is installed.

    Raises:
        ConfigurationError: It is not installed.
    """
    if not is_installed():
        raise ConfigurationError(
            "SKETCH_IMPL=theta needs Apache DataSketches, which is not installed",
            hint="pip install 'dpdau-assets[theta]', or set SKETCH_IMPL=kmv or set",
        )


def write_compact(hashes: NDArray[np.uint64], *, theta: int) -> bytes:
    """The bytes of a compact ordered theta sketch, as Apache's code writes them.

    Args:
        hashes: uint64[n], strictly increasing, each 1 to `theta` - 1 (sensitive).
        theta: In units of 2^-63, 1 to `WHOLE` (public).

    Raises:
        ConfigurationError: The package is not installed.
    """
    flags = _READ_ONLY | _COMPACT | _ORDERED
    samples = theta < WHOLE
    if hashes.size == 0 and not samples:
        flags |= _EMPTY
    has_count = samples or hashes.size > 1
    longs = 3 if samples else 2 if has_count else 1
    head = _PREAMBLE.pack(longs, _SERIAL_VERSION, _COMPACT_FAMILY, 0, 0, flags, _seed_hash())
    count = _COUNT.pack(hashes.size, 0.0) if has_count else b""
    limit = _THETA.pack(theta) if samples else b""
    written: bytes = _deserialize(head + count + limit + hashes.astype("<u8", copy=False).tobytes()).serialize()
    return written


def read_compact(stored: bytes) -> ApacheTheta:
    """The content of a compact theta sketch in any form that Apache's code reads.

    Args:
        stored: The bytes (sensitive).

    Raises:
        DataError: The bytes are no theta sketch, or were made with another seed.
        ConfigurationError: The package is not installed.
    """
    sketch = _deserialize(stored)
    hashes = np.fromiter(sketch, dtype=np.uint64, count=sketch.num_retained)
    hashes.sort()
    theta, is_empty = int(sketch.theta64), bool(sketch.is_empty())
    is_intact = bool((hashes[1:] > hashes[:-1]).all()) and not (is_empty and hashes.size)
    if not is_intact or not 1 <= theta <= WHOLE or (hashes.size and not 1 <= int(hashes[0]) <= int(hashes[-1]) < theta):
        raise DataError(_NOT_APACHE, hint="write it again with Apache DataSketches")
    return ApacheTheta(hashes, theta, is_empty)


def _deserialize(stored: bytes) -> Any:
    require_installed()
    from datasketches import compact_theta_sketch

    try:
        return compact_theta_sketch.deserialize(stored, APACHE_SEED)
    except (RuntimeError, ValueError, IndexError, MemoryError, TypeError):
        # The texts of Apache's errors may quote the bytes.
        raise DataError(_NOT_APACHE, hint="write it again with Apache DataSketches") from None


def _seed_hash() -> int:
    """The 16-bit check of the seed that every sketch carries."""
    require_installed()
    from datasketches import update_theta_sketch

    return int(update_theta_sketch(5, 1.0, APACHE_SEED).compact().get_seed_hash())
