"""Laws of core/sketches/plan.py."""

from __future__ import annotations

import pytest

from dpdau_assets.core.sketches.plan import SketchPlan, sampling_threshold
from dpdau_assets.core.sketches.protocol import KEY_SPACE, is_power_of_two
from dpdau_assets.errors import DataError, InternalError
from dpdau_tests.support.sketches import array

IMPLS = ["set", "kmv", "hll", pytest.param("theta", marks=pytest.mark.requires_theta)]
KEYS = array([1, 5, 2**40, 2**63, 2**64 - 1])


class TestPlan:
    @pytest.mark.parametrize("impl", IMPLS)
    def test_makes_and_reads_its_sketch(self, impl: str) -> None:
        """What a plan makes is of its implementation, comes back from its bytes and counts at its threshold."""
        plan = SketchPlan.of(impl, k=64, expected_users=None)
        sketch = plan.from_keys(KEYS)
        assert sketch.impl == impl
        assert plan.from_bytes(sketch.to_bytes()) == sketch
        assert sketch.threshold_count(plan.fixed_threshold or KEY_SPACE) in (4, 5)  # hll: 1 and 2^40 + ... may share

    def test_refuses_bytes_of_another(self) -> None:
        """Bytes of another implementation are a DataError."""
        for own, other in (("kmv", "set"), ("set", "kmv"), ("hll", "kmv")):
            stored = SketchPlan.of(other, k=64, expected_users=None).from_keys(KEYS).to_bytes()
            with pytest.raises(DataError):
                SketchPlan.of(own, k=64, expected_users=None).from_bytes(stored)

    def test_capacity_and_threshold(self) -> None:
        """kmv and hll can fill up and follow earlier releases; set and theta cannot and do not."""
        plans = {impl: SketchPlan.of(impl, k=64, expected_users=1000) for impl in ("set", "kmv", "hll", "theta")}
        assert {impl: plan.capacity for impl, plan in plans.items()} == {
            "set": None, "kmv": 64, "hll": 64, "theta": None,
        }  # fmt: skip
        assert {impl: plan.fixed_threshold for impl, plan in plans.items()} == {
            "set": KEY_SPACE, "kmv": None, "hll": None, "theta": KEY_SPACE >> 3,
        }  # fmt: skip

    def test_an_unknown_sketch_is_our_own_bug(self) -> None:
        """Settings refuse unknown names; a plan cannot be made to use one."""
        with pytest.raises(InternalError):
            SketchPlan("bloom", 1).from_keys(KEYS)


class TestSamplingThreshold:
    @pytest.mark.parametrize("k", [16, 1000, 4096, 65536])
    def test_leaves_k_expected_users_or_more_and_below_twice_that(self, k: int) -> None:
        """theta is a power of two with k <= theta * users < 2 k, or 1 while everybody is fewer."""
        for users in (1, k - 1, k, k + 1, 2 * k - 1, 2 * k, 7 * k, 1000 * k + 13):
            threshold = sampling_threshold(k, expected_users=users)
            kept = users * threshold / KEY_SPACE
            assert is_power_of_two(threshold)
            assert threshold == KEY_SPACE if users < 2 * k else k <= kept < 2 * k

    def test_keeps_everybody_when_no_size_is_stated(self) -> None:
        """Without a public size nothing is sampled away."""
        assert sampling_threshold(4096, expected_users=None) == KEY_SPACE
