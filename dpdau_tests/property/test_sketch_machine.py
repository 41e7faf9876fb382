"""Sketches beside plain sets, through any sequence of operations."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from dpdau_assets.core.sketches.exact import ExactSketch
from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.core.sketches.protocol import KEY_SPACE

KEYS = st.frozensets(st.one_of(st.integers(0, 30), st.sampled_from([2**63, 2**64 - 1])), max_size=12)

Held = tuple[Any, frozenset[int], int]  # a sketch, the set it stands for, its capacity


def array(keys: frozenset[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The keys as a sketch wants them."""
    return np.array(sorted(keys), dtype=np.uint64)


class SketchMachine(RuleBasedStateMachine):
    """Makes, joins, thins, stores and loads sketches; a plain set is the oracle beside each."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Held] = []

    def _keep(self, sketch: Any, keys: frozenset[int], k: int) -> Held:
        self.seen.append((sketch, keys, k))
        return self.seen[-1]

    @rule(target=held, keys=KEYS)
    def make_exact(self, keys: frozenset[int]) -> Held:
        """An exact sketch of a set."""
        return self._keep(ExactSketch.from_keys(array(keys)), keys, KEY_SPACE)

    @rule(target=held, keys=KEYS, k=st.integers(1, 14))
    def make_kmv(self, keys: frozenset[int], k: int) -> Held:
        """A bottom-k sketch of a set."""
        return self._keep(KmvSketch.from_keys(array(keys), k=k), keys, k)

    @rule(target=held, left=held, right=held)
    def join(self, left: Held, right: Held) -> Any:
        """The union of two sketches of the same kind."""
        if type(left[0]) is not type(right[0]):
            return multiple()
        return self._keep(left[0].union(right[0]), left[1] | right[1], min(left[2], right[2]))

    @rule(target=held, one=consumes(held), keys=KEYS)
    def thin(self, one: Held, keys: frozenset[int]) -> Held:
        """Drops keys: in place while complete, else by building again from the set, as replay does."""
        sketch, members, k = one
        rest = members - keys
        if sketch.complete:
            return self._keep(sketch.discard(array(keys)), rest, k)
        return self._keep(KmvSketch.from_keys(array(rest), k=k), rest, k)

    @rule(target=held, one=consumes(held))
    def store_and_load(self, one: Held) -> Held:
        """The sketch comes back from its bytes."""
        sketch, members, k = one
        return self._keep(type(sketch).from_bytes(sketch.to_bytes()), members, k)

    @invariant()
    def every_sketch_ever_made_still_tells_about_its_set(self) -> None:
        """Threshold counts are the capped counts of the set, and complete means that nothing is missing."""
        for sketch, members, k in self.seen[-6:]:
            assert sketch.complete == (len(members) <= k)
            assert not sketch.complete or sketch.estimate() == len(members)
            for threshold in (1, 3, 17, 31, 2**63, 2**64 - 1, KEY_SPACE):
                assert sketch.threshold_count(threshold) == min(k, sum(key < threshold for key in members))


TestSketchMachine = SketchMachine.TestCase
TestSketchMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
