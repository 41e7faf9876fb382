"""Binary tree aggregation: sums of daily differences over 1, 2, 4, ... days, and the counts decoded from them.

Belongs here: the tree, its exact sensitivity, its error and its decodings. Does not belong here: drawing the noise day
by day and keeping the state between days (`tree_state`). For evaluation only: releases refuse it.

Day t changes the count by D_t. On its last day a node of level l, which spans 2^l days, gives

    y = u_l * (sum of D over its days) + N_Z(0, sigma^2),        u_l the level's units,

once. Only nodes that end within the horizon exist: no day waits for a node of the future. Plain decoding
adds the at most log2 T nodes that make up days 1 to t. Least squares lets the nodes inside each of these improve it
(Honaker's estimate from below: all that is known on day t); after the last day all nodes improve all days.

One user moves the sum of a node by 1, 0 or -1: by [in on its last day] - [in on the day before its first]. So the
squared move of all nodes depends on a series through pairs of days only, and doubling finds its largest value exactly:
with W_l[s, s'] the best over a node of level l from state s of the pattern automaton to state s',
W_(l+1) = W_l (max, +) W_l + u_(l+1)^2 [s and s' differ].

Reference: Chan, Shi, Song (2011); Dwork, Naor, Pitassi, Rothblum (2010); Honaker (2015), "Efficient use of
differentially private binary trees".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.horizon.flip_patterns import REFUSED, Automaton, PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import Certificate, Integers, series_gram, value_of
from dpdau_assets.errors import InternalError

Floats: TypeAlias = npt.NDArray[np.float64]

UNITS = 64
"""Default units of one user at every level, so fine that accounting for the lattice costs nothing."""
IMPOSSIBLE = -(2**40)
"""Value of a path between two states that no series takes."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One node: days `first_day` to `last_day`, 2^level of them, counted from 1; public."""

    level: int
    last_day: int

    @property
    def first_day(self) -> int:
        """The node's first day."""
        return self.last_day - (1 << self.level) + 1


@dataclass(frozen=True, slots=True)
class BinaryTree:
    """The tree over a horizon, and how the budget is split between its levels; public.

    Attributes:
        horizon_days: T, at least 1.
        level_units: u_0, u_1, ...: units of one user at each level, each at least 1. A level with more units has less
            noise in users and takes a larger share of the budget. There is one number for each level of the horizon.
    """

    horizon_days: int
    level_units: tuple[int, ...]

    def __post_init__(self) -> None:
        is_complete = len(self.level_units) == self.horizon_days.bit_length()
        if self.horizon_days < 1 or not is_complete or min(self.level_units) < 1:
            raise InternalError("a tree needs a horizon and one positive number of units for each of its levels")

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.level_units)

    def nodes_of(self, day: int) -> tuple[TreeNode, ...]:
        """The nodes that end on a day, smallest first."""
        return tuple(TreeNode(level, day) for level in range(self.levels) if day % (1 << level) == 0)

    def nodes(self) -> tuple[TreeNode, ...]:
        """All nodes in the order in which they are drawn."""
        return tuple(node for day in range(1, self.horizon_days + 1) for node in self.nodes_of(day))

    def cover(self, day: int) -> tuple[TreeNode, ...]:
        """The disjoint nodes that make up days 1 to `day`, largest first."""
        nodes, last = [], 0
        for level in range(day.bit_length() - 1, -1, -1):
            if day >> level & 1:
                last += 1 << level
                nodes.append(TreeNode(level, last))
        return tuple(nodes)

    def units_of(self, node: TreeNode) -> int:
        """Units of one user in a node's value."""
        return self.level_units[node.level]

    def strategy(self) -> Integers:
        """Returns the nodes' values as linear functions of the differences: int64[nodes, T]."""
        rows = np.zeros((len(self.nodes()), self.horizon_days), dtype=np.int64)
        for row, node in zip(rows, self.nodes(), strict=True):
            row[node.first_day - 1 : node.last_day] = self.units_of(node)
        return rows


def even_tree(horizon_days: int, *, units: int = UNITS) -> BinaryTree:
    """The tree that gives every node the same noise.

    Args:
        horizon_days: T, at least 1.
        units: Units of one user in every node.
    """
    return BinaryTree(horizon_days, (units,) * horizon_days.bit_length())


def node_index(node: TreeNode) -> int:
    """Returns a node's place in the order of drawing: how many nodes end before its last day, plus its level."""
    before = node.last_day - 1
    return 2 * before - before.bit_count() + node.level


@lru_cache(maxsize=64)
def tree_sensitivity(tree: BinaryTree, patterns: PatternSet) -> Certificate:
    """The largest squared move of all nodes by one allowed series, exactly, at any horizon.

    Args:
        tree: The tree.
        patterns: Allowed series of the same horizon.
    """
    if patterns.horizon_days != tree.horizon_days:
        raise InternalError("a tree and its patterns must have the same horizon")
    automaton = patterns.automaton()
    ways = _ways(tree, automaton)
    values = np.full(len(automaton.is_in), IMPOSSIBLE, dtype=np.int64)
    values[0] = 0
    cover, steps = tree.cover(tree.horizon_days), []
    for node in cover:
        totals = values[:, None] + ways[node.level]
        steps.append(totals.argmax(axis=0))
        values = totals.max(axis=0)
    state = int(values.argmax())
    states = [state]
    for node, parents in zip(reversed(cover), reversed(steps), strict=True):
        start = int(parents[states[0]])
        states = [*_path(ways, node.level, start, states[0]), *states[1:]]
    witness = tuple(int(automaton.is_in[state]) for state in states[1:])
    return Certificate(int(values.max()), witness, value_of(series_gram(tree.strategy()), witness))


def _ways(tree: BinaryTree, automaton: Automaton) -> list[Integers]:
    """W_l for each level: int64[states, states]."""
    is_in = np.array(automaton.is_in)
    differs = (is_in[:, None] != is_in[None, :]).astype(np.int64)
    way = np.full(differs.shape, IMPOSSIBLE, dtype=np.int64)
    for table in (automaton.when_out, automaton.when_in):
        for state, following in enumerate(table):
            if following != REFUSED:
                way[state, following] = 0
    ways: list[Integers] = []
    for units in tree.level_units:
        if ways:
            way = np.maximum((ways[-1][:, :, None] + ways[-1][None, :, :]).max(axis=1), IMPOSSIBLE)
        ways.append(np.where(way > IMPOSSIBLE // 2, way + units**2 * differs, IMPOSSIBLE))
        way = ways[-1]
    return ways


def _path(ways: list[Integers], level: int, start: int, end: int) -> list[int]:
    """Returns the states of a best path through a node: `start` before it and one for each of its days."""
    if level == 0:
        return [start, end]
    middle = int((ways[level - 1][start] + ways[level - 1][:, end]).argmax())
    return [*_path(ways, level - 1, start, middle), *_path(ways, level - 1, middle, end)[1:]]


def node_weights(tree: BinaryTree, *, from_below: bool) -> Floats:
    """Returns the weights that make each day's estimate from the nodes' values: float64[T, nodes].

    Args:
        tree: The tree.
        from_below: Whether the nodes inside a node improve it (least squares over all that is known on the day).
    """
    size = len(tree.nodes())
    rows: dict[TreeNode, Floats] = {}
    variances: list[float] = []
    for node in tree.nodes():
        own = np.zeros(size)
        own[node_index(node)] = 1 / tree.units_of(node)
        alone = 1 / tree.units_of(node) ** 2
        if node.level == 0 or not from_below:
            rows[node], variance = own, alone
        else:
            below = 2 * variances[node.level - 1]
            share = below / (alone + below)
            half = 1 << (node.level - 1)
            parts = rows[TreeNode(node.level - 1, node.last_day - half)] + rows[TreeNode(node.level - 1, node.last_day)]
            rows[node], variance = share * own + (1 - share) * parts, share * alone
        if node.level == len(variances):
            variances.append(variance)
    days = range(1, tree.horizon_days + 1)
    return np.array([sum((rows[node] for node in tree.cover(day)), np.zeros(size)) for day in days])


def smoothing_weights(tree: BinaryTree) -> Floats:
    """Returns the weights once all nodes are known: least squares over the horizon, for new estimates of past days."""
    strategy = tree.strategy().astype(np.float64)
    prefixes = np.tril(np.ones((tree.horizon_days, tree.horizon_days)))
    return np.asarray(prefixes @ np.linalg.pinv(strategy), dtype=np.float64)


def daily_stddevs(weights: Floats, stddev: float) -> Floats:
    """Standard deviation of each day's estimate, in users: float64[T].

    Args:
        weights: Any of the decodings above, float64[T, answers].
        stddev: Standard deviation of the noise of each answer, in units.
    """
    return np.asarray(stddev * np.sqrt((weights**2).sum(axis=1)), dtype=np.float64)


def root_mean_square(values: Floats) -> float:
    """The error of a whole horizon: root of the mean square over its days."""
    return float(np.sqrt((values**2).mean()))
