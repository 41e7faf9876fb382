"""The tree day by day: an immutable state, one step, and the bytes in which the state is kept between days.

Belongs here: taking in a day's difference, drawing the nodes that end on it, and the snapshot. Does not belong here:
what the nodes mean (`tree`).

The noise of a node comes from the node's own number, so a run that goes on from any earlier snapshot draws the same
values again and publishes the same bytes: a node always has the same noise. With a source that cannot repeat itself, a
snapshot must be durable before anything drawn after the previous one is seen. An older snapshot must never be used,
because two noises for one node can be averaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from dpdau_assets.core.horizon.tree import BinaryTree, node_index
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.errors import DataError, InternalError

NodeNoise: TypeAlias = Callable[[int], NoiseSource]
"""The source of one node's noise, by the node's place in the order of drawing."""

MAGIC = b"DPDT"
VERSION = 1
CHECKSUM_BYTES = 32


@dataclass(frozen=True, slots=True)
class TreeState:
    """Everything that a tree needs to go on: sensitive, because the open sums are exact.

    Attributes:
        tree: The tree.
        stddev: Standard deviation of the noise of every node, in units.
        day: Number of days processed so far, 0 to T.
        open_sums: For each level the sum of the differences since its last node ended (sensitive).
        drawn: The noisy values of all nodes that have ended, in order: the buffer that counts are decoded from.
    """

    tree: BinaryTree
    stddev: float
    day: int = 0
    open_sums: tuple[int, ...] = field(default=(), repr=False)
    drawn: tuple[int, ...] = field(default=(), repr=False)

    def after(self, difference: int, noise: NodeNoise) -> TreeState:
        """The state one day later, with the nodes that end on that day drawn.

        Args:
            difference: Change of the count since the day before; since zero on the first day (sensitive).
            noise: Where each node's noise comes from.

        Raises:
            InternalError: The horizon is over.
        """
        if self.day >= self.tree.horizon_days:
            raise InternalError("a tree was asked for a day after its horizon")
        sums = [total + difference for total in self.open_sums or (0,) * self.tree.levels]
        drawn = list(self.drawn)
        for node in self.tree.nodes_of(self.day + 1):
            fresh = noise(node_index(node)).discrete_gaussian(self.stddev)
            drawn.append(self.tree.units_of(node) * sums[node.level] + fresh)
            sums[node.level] = 0
        return replace(self, day=self.day + 1, open_sums=tuple(sums), drawn=tuple(drawn))

    def estimate(self) -> float:
        """The count of the present day by plain decoding: the sum of the nodes that make up the days so far."""
        return sum(self.drawn[node_index(node)] / self.tree.units_of(node) for node in self.tree.cover(self.day))

    def to_bytes(self) -> bytes:
        """The snapshot: "DPDT", version 1, canonical JSON, SHA-256 of everything before. Sensitive: seal it."""
        content = {
            "horizon_days": self.tree.horizon_days,
            "level_units": self.tree.level_units,
            "stddev": self.stddev.hex(),
            "day": self.day,
            "open_sums": self.open_sums,
            "drawn": self.drawn,
        }
        body = MAGIC + bytes([VERSION]) + json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        return body + hashlib.sha256(body).digest()


def tree_state_from_bytes(stored: bytes) -> TreeState:
    """The state of a snapshot: going on from it gives what going on without it would have given.

    Args:
        stored: What `to_bytes` returned (sensitive).

    Raises:
        DataError: The bytes are not a complete snapshot of a version that this code reads.
    """
    body, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    if body[:4] != MAGIC or hashlib.sha256(body).digest() != checksum:
        raise DataError("the snapshot of a tree is damaged", hint="go on from an earlier snapshot of the same horizon")
    if body[4] != VERSION:
        raise DataError(
            f"the snapshot of a tree has version {body[4]}", hint="it was written by a newer dpdau: use that version"
        )
    content: dict[str, Any] = json.loads(body[5:])
    try:
        state = TreeState(
            BinaryTree(int(content["horizon_days"]), _integers(content["level_units"])),
            float.fromhex(content["stddev"]),
            int(content["day"]),
            _integers(content["open_sums"]),
            _integers(content["drawn"]),
        )
    except (KeyError, TypeError, ValueError, InternalError) as error:
        raise _inconsistent() from error
    ended = 2 * state.day - state.day.bit_count()
    if not 0 <= state.day <= state.tree.horizon_days or len(state.drawn) != ended:
        raise _inconsistent()
    if len(state.open_sums) != (state.tree.levels if state.day else 0):
        raise _inconsistent()
    return state


def _integers(values: list[Any]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _inconsistent() -> DataError:
    return DataError("the snapshot of a tree does not hold a state", hint="go on from an earlier snapshot")
