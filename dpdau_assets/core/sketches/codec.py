"""The bytes of a stored sketch, version 1: how they are written, and how they are checked before use.

Sketches that are lists of keys, `set` and `kmv`:

    offset  bytes  content (all numbers little-endian)
    0       4      "DPDS"
    4       1      version, 1
    5       1      implementation: 1 = set, 2 = kmv
    6       1      complete: 0 or 1
    7       1      0
    8       8      capacity: kmv's k; 2^64 - 1 for set
    16      8      n, number of keys
    24      8 n    keys, strictly increasing
    24+8n   32     SHA-256 of everything before

Sketches with a form of their own, `hll` and `theta`, stand first and are sealed at their end, so that a program which
knows that form reads the stored bytes as they are:

    0       n      the form of the implementation
    n       4      "DPDS"
    n+4     1      version, 1
    n+5     1      implementation: 3 = theta, 4 = hll
    n+6     2      0
    n+8     32     SHA-256 of everything before

A change of this layout gets a new version number; a reader refuses versions it does not know.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from dpdau_assets.core.sketches.protocol import Keys
from dpdau_assets.errors import DataError

VERSION = 1
IMPLEMENTATIONS = {"set": 1, "kmv": 2, "theta": 3, "hll": 4}

_MAGIC = b"DPDS"
_HEADER = struct.Struct("<4sBBBBQQ")
_SEAL = struct.Struct("<4sBBH")
_CHECKSUM_BYTES = 32
_REBUILD = "run `dpdau rebuild` over the day: a sketch is made again from the live users"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SketchContent:
    """What the bytes of a sketch hold (sensitive).

    Attributes:
        impl: `set` or `kmv`.
        keys: uint64[n], strictly increasing, n at most `capacity`.
        capacity: Most keys the sketch may hold, 1 to 2^64 - 1.
        complete: Whether no key was evicted; otherwise n equals `capacity`.
    """

    impl: str
    keys: Keys
    capacity: int
    complete: bool


def encode(content: SketchContent) -> bytes:
    """The bytes of `content`; equal content gives equal bytes."""
    number = IMPLEMENTATIONS[content.impl]
    header = _HEADER.pack(_MAGIC, VERSION, number, content.complete, 0, content.capacity, content.keys.size)
    body = header + content.keys.astype("<u8", copy=False).tobytes()
    return body + sha256(body).digest()


def decode(stored: bytes, *, impl: str) -> SketchContent:
    """The content of bytes written by `encode`.

    Guarantee: what is returned satisfies every invariant of a sketch, also when the bytes were not written by us.

    Args:
        stored: The bytes (sensitive).
        impl: Implementation that is expected.

    Raises:
        DataError: Too short or long, a checksum that does not match, or another version, implementation or order.
    """
    if len(stored) < _HEADER.size + _CHECKSUM_BYTES or stored[:4] != _MAGIC:
        raise DataError("a stored sketch is not one", hint=_REBUILD)
    _, version, number, complete, reserved, capacity, n_keys = _HEADER.unpack_from(stored)
    if version != VERSION:
        raise DataError(f"a stored sketch has version {version}, this program reads {VERSION}", hint=_REBUILD)
    body_bytes = _HEADER.size + 8 * n_keys
    if len(stored) != body_bytes + _CHECKSUM_BYTES or sha256(stored[:body_bytes]).digest() != stored[body_bytes:]:
        raise DataError("a stored sketch is damaged: its checksum does not match", hint=_REBUILD)
    if number != IMPLEMENTATIONS[impl]:
        raise DataError(f"a stored sketch is not of the kind {impl}", hint=_REBUILD)
    keys = np.frombuffer(stored, dtype="<u8", count=n_keys, offset=_HEADER.size).astype(np.uint64, copy=False)
    fits = complete <= 1 and reserved == 0 and n_keys <= capacity and (complete == 1 or n_keys == capacity > 0)
    if not fits or capacity == 0 or not bool((keys[1:] > keys[:-1]).all()):
        raise DataError("a stored sketch contradicts itself", hint=_REBUILD)
    return SketchContent(impl, keys, capacity=capacity, complete=complete == 1)


def seal(form: bytes, *, impl: str) -> bytes:
    """The stored bytes of a sketch whose own form is `form`; equal forms give equal bytes.

    Args:
        form: The sketch as its implementation writes it (sensitive).
        impl: `theta` or `hll`.
    """
    body = form + _SEAL.pack(_MAGIC, VERSION, IMPLEMENTATIONS[impl], 0)
    return body + sha256(body).digest()


def unseal(stored: bytes, *, impl: str) -> bytes:
    """The form of bytes written by `seal`; what it says is for the implementation to check.

    Args:
        stored: The bytes (sensitive).
        impl: Implementation that is expected.

    Raises:
        DataError: Too short, a checksum that does not match, or another version or implementation.
    """
    form_bytes = len(stored) - _SEAL.size - _CHECKSUM_BYTES
    if form_bytes < 0 or stored[form_bytes : form_bytes + 4] != _MAGIC:
        raise DataError("a stored sketch is not one", hint=_REBUILD)
    _, version, number, reserved = _SEAL.unpack_from(stored, form_bytes)
    if version != VERSION:
        raise DataError(f"a stored sketch has version {version}, this program reads {VERSION}", hint=_REBUILD)
    if sha256(stored[:-_CHECKSUM_BYTES]).digest() != stored[-_CHECKSUM_BYTES:]:
        raise DataError("a stored sketch is damaged: its checksum does not match", hint=_REBUILD)
    if number != IMPLEMENTATIONS[impl] or reserved != 0:
        raise DataError(f"a stored sketch is not of the kind {impl}", hint=_REBUILD)
    return stored[:form_bytes]
