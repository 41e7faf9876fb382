"""docs/tree-aggregation.md says what the code does: its tables, its figures, its example."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from dpdau_assets.core.horizon.factorisation import SquareRootStrategy
from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import certified_sensitivity, series_gram
from dpdau_assets.core.horizon.tree import even_tree, tree_sensitivity
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu, gdp_epsilon
from dpdau_assets.evaluation.horizon import long_horizon
from dpdau_assets.evaluation.horizon.horizon_bound import fitted_strategy
from dpdau_assets.evaluation.horizon.long_horizon import (
    CASES,
    DECODINGS,
    WINDOW_DAYS,
    long_horizon_table,
    run_tree,
)
from dpdau_tests import REPOSITORY
from dpdau_tests.support.tree_moves import level_moves

PAGE = (REPOSITORY / "docs" / "tree-aggregation.md").read_text(encoding="utf-8")
COLUMNS = ["independent", *(f"tree_{decode}" for decode in DECODINGS), "square_root", "fitted", "bound"]


def loss_of_late_events(
    late_days: int, *, horizon_days: int = 30, epsilon: float = 1.0, delta: float = 1e-6
) -> dict[str, float]:
    """What a horizon really loses when events count that arrive late: epsilon at delta of `tree`, `matrix`, `fitted`.

    The noise is made for natural stays of 30 days, the stays are shorter by the days that events are late. Some series
    loses this much; over 30 days none loses more.

    Args:
        late_days: 0 to 29.
        horizon_days: T, at most 30.
        epsilon: Loss that the noise was made for.
        delta: At which both are stated.
    """
    asked = PatternSet(horizon_days, WINDOW_DAYS)
    late = PatternSet(horizon_days, WINDOW_DAYS - late_days)
    strategies = {
        "tree": even_tree(horizon_days).strategy(),
        "matrix": SquareRootStrategy(horizon_days).strategy(),
        "fitted": fitted_strategy(asked),
    }
    moves = {
        name: [certified_sensitivity(series_gram(strategy), patterns).reached for patterns in (asked, late)]
        for name, strategy in strategies.items()
    }
    mu = gaussian_mu(epsilon, delta)
    return {name: gdp_epsilon(delta, mu=mu * math.sqrt(found / covered)) for name, (covered, found) in moves.items()}


def cells(first: str) -> list[list[str]]:
    """The rows of the table whose head begins with these words."""
    lines = PAGE[PAGE.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def as_written(row: dict[str, object]) -> list[str]:
    errors = ["–" if row[name] is None else f"{row[name]:.2f}" for name in COLUMNS]
    return [f"{row['horizon_days']} days, {row['patterns']}", str(row["flips"]), *errors]


class TestTables:
    def test_a_month_is_as_computed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first row of errors comes from the function that the page names."""
        monkeypatch.setattr(long_horizon, "CASES", CASES[:1])
        assert cells("horizon and stays")[:1] == [as_written(row) for row in long_horizon_table()]

    @pytest.mark.slow
    def test_every_row_is_as_computed(self) -> None:
        """All rows do."""
        assert cells("horizon and stays") == [as_written(row) for row in long_horizon_table()]

    def test_the_split_is_that_of_the_worst_stay(self) -> None:
        """Levels, nodes, moves and shares of 30 days with one erasure and no return."""
        tree = even_tree(30)
        certificate = tree_sensitivity(tree, CASES[1][1])
        levels = [node.level for node in tree.nodes()]
        moves = [move // tree.level_units[0] ** 2 for move in level_moves(tree, certificate.witness)]
        shown = [
            [str(level), str(2**level), str(levels.count(level)), str(move), f"{100 * move / sum(moves):.0f} %"]
            for level, move in enumerate(moves)
        ]
        assert cells("level") == shown
        assert f"moves {sum(moves)} nodes" in PAGE

    def test_the_decodings_are_these(self) -> None:
        """The table names each decoding of the code."""
        assert tuple(row[0].strip("`") for row in cells("decoding")) == DECODINGS


class TestFigures:
    @pytest.mark.parametrize(
        ("decode", "units", "error"),
        [("least_squares", (75, 53, 41, 64, 69), 20.3), ("plain", (54, 54, 54, 64, 75), 25.1)],
    )
    def test_tuned_levels(self, decode: str, units: tuple[int, ...], error: float) -> None:
        """The units that the page gives bring the error that it states."""
        run = run_tree(
            np.zeros(30, dtype=np.int64),
            patterns=CASES[1][1],
            epsilon=1.0,
            delta=1e-6,
            key=b"k" * 16,
            decode=decode,
            level_units=units,
        )
        assert math.sqrt(float((run.stddevs**2).mean())) == pytest.approx(error, abs=0.05)
        assert str(units) in PAGE and f"{error}" in PAGE

    def test_late_events(self) -> None:
        """Seven days late: 1.07 under the square root, 1.09 under the tree, 1.21 fitted; in time: 1."""
        assert "becomes 1.07\nunder the square root, 1.09 under the tree and 1.21 under noise fitted" in PAGE
        losses = loss_of_late_events(7)
        assert losses["matrix"] == pytest.approx(1.07, abs=0.005)
        assert losses["tree"] == pytest.approx(1.09, abs=0.005)
        assert losses["fitted"] == pytest.approx(1.21, abs=0.01)
        assert loss_of_late_events(0) == pytest.approx({"tree": 1.0, "matrix": 1.0, "fitted": 1.0})

    def test_noise_for_any_stays(self) -> None:
        """(1 + sqrt T) / (2 mu) is 13.7 and 42.5."""
        assert [f"{(1 + math.sqrt(days)) / (2 * gaussian_mu(1.0, 1e-6)):.1f}" for days in (30, 365)] == ["13.7", "42.5"]
        assert "13.7 for 30 days and 42.5 for 365" in PAGE


class TestExample:
    def test_runs(self) -> None:
        """The example runs as it stands, and its errors are of the size stated for them."""
        example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
        assert example is not None
        names: dict[str, object] = {}
        exec(example[1], names)
        run, errors = names["run"], names["errors"]
        assert (np.abs(errors) < 5 * run.stddevs).all()  # type: ignore[attr-defined, operator]
        assert names["rules"].patterns == PatternSet(30, 30, 1, has_return=False)  # type: ignore[attr-defined]
