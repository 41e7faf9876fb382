"""Laws of core/sketches/hll.py that the abstract laws of sketches do not state."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.sketches.codec import seal
from dpdau_assets.core.sketches.hll import HllSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import DataError, InternalError
from dpdau_tests.support.sketches import array


def random_keys(users: int, *, seed: int) -> np.ndarray:
    return np.unique(np.random.default_rng(seed).integers(0, 2**64, users, dtype=np.uint64))


class TestRegisters:
    def test_hold_the_leading_zeros_of_the_smallest_key(self) -> None:
        """A register is 1 + the leading zeros of its bucket's smallest key, 0 without one, up to 65 for key 0."""
        for key in [0, 1, 2, 3, *(2**bits + offset for bits in (31, 32, 52, 53, 54, 62, 63) for offset in (-1, 0, 1))]:
            stored = HllSketch.from_keys(array([key]), m=1).to_bytes()
            assert stored[0] == 65 - key.bit_length()
        buckets = HllSketch.from_keys(array([4, 8, 2**63 + 1]), m=4).to_bytes()
        assert list(buckets[:4]) == [62, 1, 0, 0]

    def test_are_counted_by_level(self) -> None:
        """The threshold count at 2^(65 - L) is the number of registers at L or above."""
        registers = HllSketch.from_keys(random_keys(3000, seed=1), m=256).to_bytes()[:256]
        sketch = HllSketch.from_keys(random_keys(3000, seed=1), m=256)
        for level in range(1, 66):
            expected = sum(register >= level for register in registers)
            assert sketch.threshold_count(KEY_SPACE >> (level - 1)) == expected

    @pytest.mark.parametrize("m", [0, 3, -4, 65537])
    def test_come_in_powers_of_two(self, m: int) -> None:
        """Any other number of buckets is our own bug."""
        with pytest.raises(InternalError):
            HllSketch.from_keys(array([1]), m=m)

    @pytest.mark.parametrize("form", [b"", b"\x00\x01\x02", b"\x42"])
    def test_that_cannot_be_are_refused(self, form: bytes) -> None:
        """Sealed bytes with no power of two of registers, or with a register above 65, are no sketch."""
        with pytest.raises(DataError, match="contradicts"):
            HllSketch.from_bytes(seal(form, impl="hll"))


class TestEstimate:
    @pytest.mark.parametrize("users", [0, 1, 100, 2000, 60_000])
    def test_errs_as_stated(self, users: int) -> None:
        """Over 60 sets the error is within 4 standard errors of none, and its deviation of 1.24 / sqrt(m) or less."""
        m, runs = 1024, 60
        errors = [
            HllSketch.from_keys(random_keys(users, seed=[run, users]), m=m).estimate() - users for run in range(runs)
        ]
        stated = 1.24 / m**0.5 * max(users, 1)
        assert abs(np.mean(errors)) < 4 * stated / runs**0.5 + users / m
        assert np.std(errors) < 1.4 * stated + 0.1

    def test_of_a_full_sketch_is_finite(self) -> None:
        """Even when every bucket is hit at every level there is a number."""
        full = np.full(16, 65, dtype=np.uint8)
        assert np.isfinite(HllSketch(full).estimate())
