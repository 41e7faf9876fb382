"""Sketches beside plain sets, through any sequence of operations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_tests.support.sketches import KINDS, Kind, array

KEYS = st.frozensets(st.one_of(st.integers(0, 30), st.sampled_from([2**63, 2**64 - 1])), max_size=12)
THRESHOLDS = (1, 2, 3, 16, 17, 31, 2**61, 2**62, 2**63, 2**64 - 1, KEY_SPACE)

Held = tuple[Kind, Any, frozenset[int], int]  # an implementation, a sketch, the set it stands for, its size


class SketchMachine(RuleBasedStateMachine):
    """Makes, joins, thins, stores and loads sketches; a plain set is the oracle beside each."""

    held = Bundle("held")
    kinds = ("hll", "kmv", "set")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Held] = []

    def _keep(self, kind: Kind, sketch: Any, keys: frozenset[int], size: int) -> Held:
        self.seen.append((kind, sketch, keys, size))
        return self.seen[-1]

    @rule(target=held, keys=KEYS, data=st.data())
    def make(self, keys: frozenset[int], data: st.DataObject) -> Held:
        """A sketch of a set, of any implementation and size."""
        kind = KINDS[data.draw(st.sampled_from(self.kinds))]
        size = data.draw(st.sampled_from(kind.sizes))
        return self._keep(kind, kind.make(keys, size), keys, size)

    @rule(target=held, left=held, right=held)
    def join(self, left: Held, right: Held) -> Any:
        """The union of two sketches of the same kind."""
        if left[0] is not right[0]:
            return multiple()
        return self._keep(left[0], left[1].union(right[1]), left[2] | right[2], min(left[3], right[3]))

    @rule(target=held, one=consumes(held), keys=KEYS)
    def thin(self, one: Held, keys: frozenset[int]) -> Held:
        """Drops keys: in place where the sketch can, else by building again from the set, as replay does."""
        kind, sketch, members, size = one
        rest = members - keys
        if kind.discards(members, size):
            return self._keep(kind, sketch.discard(array(keys)), rest, size)
        return self._keep(kind, kind.make(rest, size), rest, size)

    @rule(target=held, one=consumes(held))
    def store_and_load(self, one: Held) -> Held:
        """The sketch comes back from its bytes."""
        kind, sketch, members, size = one
        return self._keep(kind, type(sketch).from_bytes(sketch.to_bytes()), members, size)

    @invariant()
    def every_sketch_ever_made_still_tells_about_its_set(self) -> None:
        """Threshold counts are those of the set, and complete means that nothing is missing."""
        for kind, sketch, members, size in self.seen[-6:]:
            assert sketch.complete == kind.is_complete(members, size)
            assert not sketch.complete or sketch.estimate() == len(members)
            for threshold in THRESHOLDS:
                if kind.answers(threshold, size):
                    assert sketch.threshold_count(threshold) == kind.count(members, size, threshold)


class ThetaMachine(SketchMachine):
    """The same with Apache's bytes."""

    kinds = ("theta",)


LIVES = settings(max_examples=15, stateful_step_count=30, deadline=None, derandomize=True)
TestSketchMachine = SketchMachine.TestCase
TestSketchMachine.settings = LIVES
TestThetaMachine = pytest.mark.requires_theta(ThetaMachine.TestCase)
TestThetaMachine.settings = LIVES
