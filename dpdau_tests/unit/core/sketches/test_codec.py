"""The stored form of sketches: the layout is frozen, foreign bytes are refused."""

from __future__ import annotations

import struct
from hashlib import sha256

import numpy as np
import pytest

from dpdau_assets.core.sketches.codec import SketchContent, decode, encode, seal, unseal
from dpdau_assets.core.sketches.exact import ExactSketch
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.errors import DataError

KEYS = np.array([1, 2**40, 2**64 - 1], dtype=np.uint64)


def written(
    *, magic: bytes = b"DPDS", version: int = 1, impl: int = 2, complete: int = 1, reserved: int = 0,
    capacity: int = 5, keys: tuple[int, ...] = (1, 2, 3),
) -> bytes:  # fmt: skip
    """Bytes with a right checksum, as a program with a fault would write them."""
    body = struct.pack("<4sBBBBQQ", magic, version, impl, complete, reserved, capacity, len(keys))
    body += struct.pack(f"<{len(keys)}Q", *keys)
    return body + sha256(body).digest()


class TestLayout:
    def test_version_1_is_frozen(self) -> None:
        """The bytes of a known sketch never change: stored files outlive the program."""
        stored = KmvSketch.from_keys(KEYS, k=3).to_bytes()
        header = "445044530102010003000000000000000300000000000000"
        keys = "01000000000000000000000000010000ffffffffffffffff"
        assert stored[:48].hex() == header + keys
        assert stored[48:] == sha256(stored[:48]).digest()
        assert stored == encode(SketchContent("kmv", KEYS, capacity=3, complete=True))

    def test_an_exact_sketch_is_marked_as_one(self) -> None:
        """Implementation 1, complete, with the largest capacity."""
        stored = ExactSketch.from_keys(KEYS).to_bytes()
        assert stored[4:16].hex() == "01010100" + "ff" * 8

    def test_content_prints_nothing(self) -> None:
        """What a sketch holds does not show in its representation."""
        assert str(2**40) not in repr(decode(written(keys=(2**40,)), impl="kmv"))


class TestRefusal:
    def test_the_right_bytes_are_read(self) -> None:
        """The writer of this test writes what is accepted, so each refusal below has the one cause it names."""
        content = decode(written(), impl="kmv")
        assert (content.keys.tolist(), content.capacity, content.complete) == ([1, 2, 3], 5, True)
        assert not decode(written(complete=0, capacity=3), impl="kmv").complete

    @pytest.mark.parametrize(
        "stored",
        [
            b"",
            b"DPDS",
            written(magic=b"PAR1"),
            written(version=2),
            written(version=0),
            written(impl=1),
            written(impl=9),
            written(complete=2),
            written(complete=0),
            written(reserved=1),
            written(capacity=2),
            written(capacity=0, keys=()),
            written(capacity=0, keys=(), complete=0),
            written(keys=(1, 3, 2)),
            written(keys=(1, 1, 2)),
            written()[:-1],
            written() + b"\x00",
            written()[:24] + bytes(24) + written()[48:],
        ],
    )
    def test_bytes_that_contradict_themselves_are_refused(self, stored: bytes) -> None:
        """A right checksum is not enough: kind, version, order, capacity and completeness must fit together."""
        with pytest.raises(DataError):
            KmvSketch.from_bytes(stored)

    def test_a_length_field_that_lies_does_not_allocate(self) -> None:
        """A huge number of keys in a small file is refused by its length."""
        body = struct.pack("<4sBBBBQQ", b"DPDS", 1, 2, 1, 0, 2**63, 2**62) + bytes(8)
        with pytest.raises(DataError):
            decode(body + sha256(body).digest(), impl="kmv")

    def test_the_other_implementation_is_refused(self) -> None:
        """A sketch is read by its own implementation only."""
        with pytest.raises(DataError):
            ExactSketch.from_bytes(KmvSketch.from_keys(KEYS, k=3).to_bytes())
        with pytest.raises(DataError):
            KmvSketch.from_bytes(ExactSketch.from_keys(KEYS).to_bytes())


class TestSeal:
    def test_version_1_is_frozen(self) -> None:
        """The form stands first, then 8 bytes that say what it is, then the checksum."""
        stored = seal(b"form", impl="hll")
        assert stored[:12].hex() == b"form".hex() + "44504453" + "01040000"
        assert stored[12:] == sha256(stored[:12]).digest()
        assert seal(b"", impl="theta")[:8].hex() == "4450445301030000"
        assert unseal(stored, impl="hll") == b"form"

    @pytest.mark.parametrize(
        ("end", "message"),
        [
            (b"DPDT" + bytes([1, 4, 0, 0]), "is not one"),
            (b"DPDS" + bytes([2, 4, 0, 0]), "version 2"),
            (b"DPDS" + bytes([1, 3, 0, 0]), "not of the kind hll"),
            (b"DPDS" + bytes([1, 4, 1, 0]), "not of the kind hll"),
        ],
    )
    def test_another_seal_is_refused(self, end: bytes, message: str) -> None:
        """With a right checksum, another magic, version, implementation or reserved byte is still refused."""
        body = b"form" + end
        with pytest.raises(DataError, match=message):
            unseal(body + sha256(body).digest(), impl="hll")
