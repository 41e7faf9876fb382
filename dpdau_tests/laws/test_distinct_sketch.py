"""The laws of `DistinctSketch`, run for every implementation."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE, DistinctSketch
from dpdau_assets.errors import DataError, InternalError
from dpdau_tests.support.sketches import KINDS, Kind, array

EDGES = [0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1]
KEYS = st.frozensets(st.one_of(st.integers(0, 40), st.sampled_from(EDGES)), max_size=24)
NEW_KEY = st.one_of(st.integers(0, 45), st.sampled_from(EDGES))
THRESHOLDS = st.one_of(
    st.integers(1, 45), st.integers(0, 64).map(lambda bits: 2**bits), st.sampled_from([2**61 - 1, KEY_SPACE - 1])
)
SIZES = st.integers(0, 4)

laws = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.differing_executors]
)


class DistinctSketchLaws:
    """What every implementation promises, beside a plain set; subclasses say which one."""

    kind: ClassVar[Kind]

    def make(self, keys: frozenset[int] | set[int], size: int) -> Any:
        """A sketch of `keys` with the size of this number."""
        return self.kind.make(keys, self.size(size))

    def size(self, number: int) -> int:
        """One of the implementation's sizes; a larger number never gives a smaller one."""
        return self.kind.sizes[min(number, len(self.kind.sizes) - 1)]

    def test_is_a_sketch(self) -> None:
        """The class has every member of the protocol."""
        assert isinstance(self.make({1, 2}, 5), DistinctSketch)

    @laws
    @given(KEYS, KEYS, SIZES, SIZES)
    def test_union_is_commutative(self, a: frozenset[int], b: frozenset[int], k: int, other_k: int) -> None:
        """a + b = b + a, also for different capacities."""
        left, right = self.make(a, k), self.make(b, other_k)
        assert left.union(right) == right.union(left)

    @laws
    @given(KEYS, KEYS, KEYS, st.tuples(SIZES, SIZES, SIZES))
    def test_union_is_associative(
        self, a: frozenset[int], b: frozenset[int], c: frozenset[int], k: tuple[int, int, int]
    ) -> None:
        """(a + b) + c = a + (b + c), also for different capacities."""
        x, y, z = self.make(a, k[0]), self.make(b, k[1]), self.make(c, k[2])
        assert x.union(y).union(z) == x.union(y.union(z))

    @laws
    @given(KEYS, SIZES)
    def test_union_is_idempotent_and_the_empty_set_neutral(self, a: frozenset[int], k: int) -> None:
        """a + a = a, and adding nothing changes nothing."""
        sketch = self.make(a, k)
        assert sketch.union(sketch) == sketch
        assert sketch.union(self.make(frozenset(), k)) == sketch

    @laws
    @given(KEYS, KEYS, SIZES, SIZES)
    def test_union_of_sketches_is_the_sketch_of_the_union(
        self, a: frozenset[int], b: frozenset[int], k: int, other_k: int
    ) -> None:
        """What union gives is what the united keys give, with the smaller capacity."""
        assert self.make(a, k).union(self.make(b, other_k)) == self.make(a | b, min(k, other_k))

    @laws
    @given(KEYS, SIZES, THRESHOLDS)
    def test_threshold_count_is_the_count_of_the_set_or_refused(
        self, a: frozenset[int], k: int, threshold: int
    ) -> None:
        """The count is what the whole set says, whatever was evicted; a threshold it cannot know is refused."""
        if self.kind.answers(threshold, self.size(k)):
            assert self.make(a, k).threshold_count(threshold) == self.kind.count(a, self.size(k), threshold)
        else:
            with pytest.raises(InternalError):
                self.make(a, k).threshold_count(threshold)

    @laws
    @given(st.lists(st.tuples(KEYS, SIZES), min_size=1, max_size=4), st.data(), NEW_KEY, THRESHOLDS)
    def test_one_user_moves_the_threshold_count_by_at_most_one(
        self, days: list[tuple[frozenset[int], int]], data: st.DataObject, key: int, threshold: int
    ) -> None:
        """Adding one user to any of the days of a window changes its count by 0 or 1, saturated or not."""
        assume(self.kind.answers(threshold, min(self.size(k) for _, k in days)))
        active = data.draw(st.lists(st.booleans(), min_size=len(days), max_size=len(days)))
        without_user = self._window([(keys - {key}, k) for keys, k in days]).threshold_count(threshold)
        with_user = self._window(
            [(keys | {key} if on else keys - {key}, k) for (keys, k), on in zip(days, active, strict=True)]
        ).threshold_count(threshold)
        assert with_user - without_user in (0, 1)

    @laws
    @given(KEYS, SIZES, SIZES, THRESHOLDS, st.booleans())
    def test_a_larger_set_never_counts_less(
        self, a: frozenset[int], k: int, other_k: int, threshold: int, grown: bool
    ) -> None:
        """Counts are monotone in the set, which the private search for a first threshold relies on."""
        assume(self.kind.answers(threshold, min(self.size(k), self.size(other_k))))
        smaller = self.make(a, k).union(self.make(frozenset(), other_k))
        larger = smaller.union(self.make({7, 2**63, *range(3 * grown)}, other_k))
        assert larger.threshold_count(threshold) >= smaller.threshold_count(threshold)

    @pytest.mark.parametrize("threshold", [0, -1, KEY_SPACE + 1, 2 * KEY_SPACE])
    def test_a_threshold_outside_the_key_space_is_refused(self, threshold: int) -> None:
        """A threshold is 1 to 2^64."""
        with pytest.raises(InternalError):
            self.make({1, 2}, 5).threshold_count(threshold)

    @laws
    @given(KEYS, KEYS, SIZES)
    def test_discard_gives_the_sketch_of_the_difference_or_refuses(
        self, a: frozenset[int], b: frozenset[int], k: int
    ) -> None:
        """A sketch that knows what is left drops keys exactly; one that does not refuses, and must be rebuilt."""
        sketch = self.make(a, k)
        if self.kind.discards(a, self.size(k)):
            assert sketch.discard(array(b)) == self.make(a - b, k)
        else:
            with pytest.raises(InternalError):
                sketch.discard(array(b))

    @laws
    @given(KEYS, KEYS, SIZES)
    def test_operations_leave_their_operands_alone(self, a: frozenset[int], b: frozenset[int], k: int) -> None:
        """Sketches are immutable: after union and discard both operands are what they were."""
        left, right = self.make(a, k), self.make(b, k)
        left.union(right)
        if self.kind.discards(a, self.size(k)):
            left.discard(array(b))
        assert (left, right) == (self.make(a, k), self.make(b, k))

    @laws
    @given(KEYS, SIZES)
    def test_estimate_is_exact_exactly_while_complete(self, a: frozenset[int], k: int) -> None:
        """Complete means that nothing was left out, and then the estimate is the number of keys."""
        sketch = self.make(a, k)
        assert sketch.complete == self.kind.is_complete(a, self.size(k))
        assert not sketch.complete or sketch.estimate() == len(a)

    @laws
    @given(KEYS, SIZES)
    def test_bytes_round_trip(self, a: frozenset[int], k: int) -> None:
        """A sketch comes back from its bytes, and equal sketches have equal bytes."""
        sketch = self.make(a, k)
        stored = sketch.to_bytes()
        assert type(sketch).from_bytes(stored) == sketch
        assert self.make(a, k).to_bytes() == stored

    @laws
    @given(KEYS, SIZES, st.data())
    def test_damaged_bytes_are_refused(self, a: frozenset[int], k: int, data: st.DataObject) -> None:
        """One changed bit anywhere, a lost tail or an added one is noticed."""
        sketch = self.make(a, k)
        stored = sketch.to_bytes()
        position = data.draw(st.integers(0, len(stored) - 1))
        flipped = bytearray(stored)
        flipped[position] ^= 1 << data.draw(st.integers(0, 7))
        for damaged in (bytes(flipped), stored[:position], stored + b"\x00"):
            with pytest.raises(DataError):
                type(sketch).from_bytes(damaged)

    def test_prints_no_key_and_no_count(self) -> None:
        """A sketch in a log line or traceback says what it is, not what it holds."""
        keys = {7, 1234567890123456789, 2**64 - 1}
        text = f"{self.make(keys, 5)!r} {self.make(keys, 5)}"
        assert not any(str(key) in text for key in keys)
        assert text == f"{self.make(frozenset(), 5)!r} {self.make(frozenset(), 5)}"

    @pytest.mark.parametrize(
        "keys", [np.array([2, 1], np.uint64), np.array([1, 1], np.uint64), np.array([1, 2], np.int64)]
    )
    def test_keys_out_of_order_are_refused(self, keys: Any) -> None:
        """Keys that are unsorted, repeated or of another type are our own bug, never counted."""
        with pytest.raises(InternalError):
            self.make(frozenset(), 5).discard(keys)

    def _window(self, days: list[tuple[frozenset[int], int]]) -> Any:
        """The union of the days' sketches."""
        sketch = self.make(*days[0])
        for keys, k in days[1:]:
            sketch = sketch.union(self.make(keys, k))
        return sketch


class TestExactSketch(DistinctSketchLaws):
    kind = KINDS["set"]


class TestKmvSketch(DistinctSketchLaws):
    kind = KINDS["kmv"]


class TestHllSketch(DistinctSketchLaws):
    kind = KINDS["hll"]


@pytest.mark.requires_theta
class TestThetaSketch(DistinctSketchLaws):
    kind = KINDS["theta"]


class TestUnsoundCounts:
    DAYS: tuple[frozenset[int], ...] = tuple(frozenset({10 + day, 50 + day}) for day in range(20))

    @staticmethod
    def uncapped(days: list[frozenset[int]]) -> int:
        """Every key that any saturated day sketch of two keys still holds."""
        return len(frozenset().union(*(sorted(keys)[:2] for keys in days)))

    @staticmethod
    def below_the_smallest_last_key(days: list[frozenset[int]]) -> int:
        """Keys below a threshold that is read off the sketches."""
        theta = min(sorted(keys)[1] for keys in days)
        return sum(key < theta for key in frozenset().union(*days))

    @pytest.mark.parametrize("count", [uncapped, below_the_smallest_last_key])
    def test_tempting_counts_move_by_many_for_one_user(self, count: Callable[[list[frozenset[int]]], int]) -> None:
        """Without the cap, or with a threshold read off the data, one daily user moves the count of twenty days by
        nineteen, where the threshold count moves by one: the sensitivity law can tell them apart."""
        with_user = [keys | {1} for keys in self.DAYS]
        assert count(with_user) - count(list(self.DAYS)) == -19
        windows = [[KmvSketch.from_keys(array(keys), k=2) for keys in days] for days in (self.DAYS, with_user)]
        before, after = (reduce(KmvSketch.union, window) for window in windows)
        for threshold in range(1, 80):
            assert after.threshold_count(threshold) - before.threshold_count(threshold) in (0, 1)
