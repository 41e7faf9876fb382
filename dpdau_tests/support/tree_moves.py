"""What one user's series moves in a tree, level by level."""

from __future__ import annotations

from dpdau_assets.core.horizon.tree import BinaryTree


def level_moves(tree: BinaryTree, series: tuple[int, ...]) -> tuple[int, ...]:
    """Squared move of each level's nodes by one user's series: the shares of the budget that it uses."""
    ins = (0, *series)
    moves = [0] * tree.levels
    for node in tree.nodes():
        moves[node.level] += tree.units_of(node) ** 2 * (ins[node.last_day] != ins[node.first_day - 1])
    return tuple(moves)
