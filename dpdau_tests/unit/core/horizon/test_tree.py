"""Laws of core/mechanisms/tree.py and tree_state.py: the tree, its exact sensitivity, its decodings, its snapshots."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import certified_sensitivity, series_gram, value_of
from dpdau_assets.core.horizon.tree import (
    BinaryTree,
    TreeNode,
    daily_stddevs,
    even_tree,
    node_index,
    node_weights,
    root_mean_square,
    smoothing_weights,
    tree_sensitivity,
)
from dpdau_assets.core.horizon.tree_state import TreeState, tree_state_from_bytes
from dpdau_assets.core.mechanisms.samplers import SeededNoise, draw_key
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu
from dpdau_assets.errors import DataError, InternalError
from dpdau_tests.support.tree_moves import level_moves

HORIZONS = [1, 2, 7, 8, 13, 30]
DIFFERENCES = (40, 3, -2, 0, 7, -9, 1, 5, -4, 2, 2, -6, 11)


class Silence:
    """A source whose every draw is 0."""

    name, is_private = "silence", False

    def discrete_gaussian(self, stddev: float) -> int:
        return 0

    def discrete_laplace(self, scale: float) -> int:
        return 0


def keyed(key: bytes):
    return lambda node: SeededNoise(draw_key(key, ledger_id="test", account=1, draw=node))


def drawn_by(tree: BinaryTree, differences, noise) -> TreeState:
    state = TreeState(tree, 50.0)
    for difference in differences:
        state = state.after(difference, noise)
    return state


class TestTree:
    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_nodes_come_in_the_order_of_their_index(self, horizon: int) -> None:
        """Every node ends within the horizon, and its index is its place in the order of drawing."""
        nodes = even_tree(horizon).nodes()
        assert [node_index(node) for node in nodes] == list(range(len(nodes)))
        assert {node.last_day for node in nodes} == set(range(1, horizon + 1))
        assert all(node.first_day >= 1 for node in nodes)

    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_a_cover_holds_each_day_once(self, horizon: int) -> None:
        """The nodes of a cover are at most log2 T + 1, disjoint, drawn by that day, and make up its days."""
        tree = even_tree(horizon)
        for day in range(1, horizon + 1):
            cover = tree.cover(day)
            days = [d for node in cover for d in range(node.first_day, node.last_day + 1)]
            assert days == list(range(1, day + 1))
            assert len(cover) == day.bit_count()
            assert set(cover) <= set(tree.nodes())

    @pytest.mark.parametrize("units", [(1,), (1, 1, 1), (1, 0)])
    def test_every_level_needs_its_units(self, units: tuple[int, ...]) -> None:
        """A horizon of two days has two levels, each with at least one unit."""
        with pytest.raises(InternalError):
            BinaryTree(2, units)


class TestSensitivity:
    @pytest.mark.parametrize(
        "patterns", [PatternSet(13, 4), PatternSet(12, 3, 1), PatternSet(30, 30), PatternSet(30, 30, 1)], ids=str
    )
    @pytest.mark.parametrize("tilt", [0, 3])
    def test_doubling_finds_what_the_search_over_all_series_finds(self, patterns: PatternSet, tilt: int) -> None:
        """The exact maximum, for an even tree and an uneven one, with an allowed witness that reaches it."""
        levels = patterns.horizon_days.bit_length()
        tree = BinaryTree(patterns.horizon_days, tuple(5 + tilt * level for level in range(levels)))
        found, gram = tree_sensitivity(tree, patterns), series_gram(tree.strategy())
        assert found.squared_sensitivity == certified_sensitivity(gram, patterns).squared_sensitivity
        assert found.is_exact
        assert patterns.allows(found.witness)
        assert value_of(gram, found.witness) == found.reached == sum(level_moves(tree, found.witness))

    def test_of_a_month(self) -> None:
        """30 days with runs of 30: 12 nodes move by one user at most; with an erasure and return 18."""
        tree = even_tree(30, units=1)
        assert tree_sensitivity(tree, PatternSet(30, 30)).squared_sensitivity == 12
        assert tree_sensitivity(tree, PatternSet(30, 30, 1)).squared_sensitivity == 18

    def test_of_many_months_is_exact(self) -> None:
        """150 days take no window and no gap."""
        patterns = PatternSet(150, 30, 1)
        found = tree_sensitivity(even_tree(150, units=1), patterns)
        assert found.is_exact
        assert patterns.allows(found.witness)

    def test_the_horizons_must_agree(self) -> None:
        """A tree is not measured by series of another length."""
        with pytest.raises(InternalError):
            tree_sensitivity(even_tree(30), PatternSet(31, 30))


class TestDecoding:
    @pytest.mark.parametrize("horizon", HORIZONS)
    @pytest.mark.parametrize("tilt", [0, 2])
    def test_without_noise_the_counts_come_back(self, horizon: int, tilt: int) -> None:
        """Every decoding of noiseless nodes gives the prefix sums."""
        tree = BinaryTree(horizon, tuple(4 + tilt * level for level in range(horizon.bit_length())))
        differences = np.random.default_rng(horizon).integers(-50, 50, horizon)
        values = tree.strategy() @ differences
        for weights in (
            node_weights(tree, from_below=False),
            node_weights(tree, from_below=True),
            smoothing_weights(tree),
        ):
            assert weights @ values == pytest.approx(np.cumsum(differences), abs=1e-9)

    def test_least_squares_is_the_best_of_what_is_known_on_the_day(self) -> None:
        """From below equals least squares over the nodes drawn by the day; more nodes never hurt."""
        tree = BinaryTree(13, (6, 5, 5, 8))
        strategy = tree.strategy().astype(float)
        below = daily_stddevs(node_weights(tree, from_below=True), 1.0)
        for day in range(1, 14):
            known = [node_index(node) for node in tree.nodes() if node.last_day <= day]
            best = np.ones(day) @ np.linalg.pinv(strategy[known][:, :day])
            assert below[day - 1] == pytest.approx(float(np.linalg.norm(best)))
        plain = daily_stddevs(node_weights(tree, from_below=False), 1.0)
        smoothed = daily_stddevs(smoothing_weights(tree), 1.0)
        assert (smoothed <= below + 1e-12).all()
        assert (below <= plain + 1e-12).all()
        assert smoothed[:12].sum() < below[:12].sum() < plain[:12].sum()


class TestState:
    def test_the_buffer_holds_the_nodes_and_the_estimate_is_plain(self) -> None:
        """Without noise every node is its sum of differences, and each day's estimate the count."""
        tree, state = BinaryTree(13, (2, 3, 4, 5)), TreeState(BinaryTree(13, (2, 3, 4, 5)), 50.0)
        for day, difference in enumerate(DIFFERENCES, start=1):
            state = state.after(difference, lambda node: Silence())
            assert state.estimate() == pytest.approx(sum(DIFFERENCES[:day]))
        assert state.drawn == tuple(tree.strategy() @ np.array(DIFFERENCES))

    def test_going_on_from_any_snapshot_gives_the_same_bytes(self) -> None:
        """Stopped after any day and resumed from its bytes, a tree draws what it draws uninterrupted."""
        whole = drawn_by(even_tree(13), DIFFERENCES, keyed(b"a" * 16))
        for day in range(14):
            state = tree_state_from_bytes(drawn_by(even_tree(13), DIFFERENCES[:day], keyed(b"a" * 16)).to_bytes())
            for difference in DIFFERENCES[day:]:
                state = state.after(difference, keyed(b"a" * 16))
            assert state == whole
            assert state.to_bytes() == whole.to_bytes()
        assert drawn_by(even_tree(13), DIFFERENCES, keyed(b"b" * 16)).drawn != whole.drawn

    def test_a_state_never_changes(self) -> None:
        """A step makes a new state and leaves the old one as it was."""
        state = TreeState(even_tree(4), 50.0).after(5, keyed(b"a" * 16))
        before = state.to_bytes()
        state.after(7, keyed(b"a" * 16))
        assert state.to_bytes() == before

    def test_a_state_does_not_print_its_sums(self) -> None:
        """Exact sums and draws stay out of logs."""
        state = TreeState(even_tree(4), 50.0).after(987654, lambda node: Silence())
        assert "987654" not in repr(state)

    def test_nothing_follows_the_horizon(self) -> None:
        """The day after the last one is refused."""
        with pytest.raises(InternalError):
            drawn_by(even_tree(2), (1, 2, 3), keyed(b"a" * 16))

    @pytest.mark.parametrize("place", [0, 4, 20, -1])
    def test_a_changed_byte_is_noticed(self, place: int) -> None:
        """A snapshot with any byte changed, or cut, is no snapshot."""
        stored = bytearray(drawn_by(even_tree(13), DIFFERENCES[:6], keyed(b"a" * 16)).to_bytes())
        stored[place] ^= 1
        for damaged in (bytes(stored), bytes(stored[:-3]), b""):
            with pytest.raises(DataError):
                tree_state_from_bytes(damaged)

    @pytest.mark.parametrize(
        ("old", "new"), [(b"DPDT\x01", b"DPDT\x02"), (b'"day":6', b'"day":5'), (b'"day":6', b'"dax":6')]
    )
    def test_a_well_formed_lie_is_noticed(self, old: bytes, new: bytes) -> None:
        """Another version, and content that is not a state, are refused though their checksum is right."""
        body = drawn_by(even_tree(13), DIFFERENCES[:6], keyed(b"a" * 16)).to_bytes()[:-32].replace(old, new)
        with pytest.raises(DataError):
            tree_state_from_bytes(body + hashlib.sha256(body).digest())


class TestFigures:
    @pytest.mark.parametrize(
        ("short_cuts", "moves", "plain", "least_squares"), [(0, 14, 25.0, 14.2), (1, 20, 29.9, 16.9)]
    )
    def test_of_a_tree_that_also_draws_nodes_past_the_horizon(
        self, short_cuts: int, moves: int, plain: float, least_squares: float
    ) -> None:
        """A tree of 32 days used for 30, all 62 nodes drawn: 14 (20) nodes move, errors 25.0 (29.9) plain and, with
        all nodes and so after the last day, 14.2 (16.9) by least squares."""
        tree = even_tree(32, units=1)
        rows = tree.strategy()[:, :30]
        rows = rows[rows.any(axis=1)]
        certificate = certified_sensitivity(series_gram(rows), PatternSet(30, 30, short_cuts))
        assert certificate.squared_sensitivity == moves
        stddev = math.sqrt(moves) / gaussian_mu(1.0, 1e-6)
        plain_errors = daily_stddevs(node_weights(tree, from_below=False), stddev)[:30]
        assert root_mean_square(plain_errors) == pytest.approx(plain, abs=0.05)
        best = np.tril(np.ones((30, 30))) @ np.linalg.pinv(rows.astype(float))
        assert root_mean_square(daily_stddevs(best, stddev)) == pytest.approx(least_squares, abs=0.05)

    def test_of_a_node(self) -> None:
        """A node of level 3 that ends on day 16 spans days 9 to 16."""
        assert TreeNode(3, 16).first_day == 9
