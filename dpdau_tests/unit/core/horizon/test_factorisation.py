"""Laws of core/mechanisms/factorisation.py: the square root of the prefix sums, in integers."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from dpdau_assets.core.horizon.factorisation import SquareRootStrategy, square_root_coefficients
from dpdau_assets.core.mechanisms.samplers import SeededNoise, draw_key
from dpdau_assets.errors import InternalError


class TestCoefficients:
    def test_are_central_binomials(self) -> None:
        """f_k = binom(2k, k) / 4^k."""
        exact = [comb(2 * k, k) / 4**k for k in range(60)]
        assert square_root_coefficients(60) == pytest.approx(exact, rel=1e-13)

    def test_the_factor_squares_to_prefix_sums(self) -> None:
        """C C is the matrix of prefix sums in units squared, up to the rounding to integers."""
        strategy = SquareRootStrategy(40)
        factor = strategy.strategy() / strategy.units
        assert factor @ factor == pytest.approx(np.tril(np.ones((40, 40))), abs=1e-5)

    def test_the_factor_is_lower_triangular_integers(self) -> None:
        """No answer needs a later day."""
        matrix = SquareRootStrategy(9, units=10).strategy()
        assert matrix.dtype == np.int64
        assert (np.triu(matrix, 1) == 0).all()
        assert list(matrix[:, 0]) == [10, 5, 4, 3, 3, 2, 2, 2, 2]

    def test_needs_a_horizon(self) -> None:
        """No days, no strategy."""
        with pytest.raises(InternalError):
            SquareRootStrategy(0)


class TestDecoding:
    @pytest.mark.parametrize("units", [3, 64, 2**20])
    def test_without_noise_the_counts_come_back(self, units: int) -> None:
        """The rounded factor itself is inverted, however coarse: noiseless answers decode to the counts."""
        strategy = SquareRootStrategy(50, units)
        differences = np.random.default_rng(1).integers(-900, 900, 50)
        assert strategy.decode(strategy.strategy() @ differences) == pytest.approx(np.cumsum(differences), abs=1e-6)

    def test_an_estimate_needs_no_later_answer(self) -> None:
        """The weights are lower triangular: a day is decoded on the day."""
        assert np.abs(np.triu(SquareRootStrategy(30).weights(), 1)).max() < 1e-15

    def test_answers_are_the_strategy_plus_one_draw_a_day(self) -> None:
        """Each day adds the draw of its own source."""

        def noise(day: int) -> SeededNoise:
            return SeededNoise(draw_key(b"k" * 16, ledger_id="test", account=1, draw=day))

        strategy, differences = SquareRootStrategy(6), [5, -3, 2, 0, 1, 7]
        answers = strategy.answers(differences, 1e7, noise)
        draws = [noise(day).discrete_gaussian(1e7) for day in range(6)]
        assert answers == tuple(int(v) + d for v, d in zip(strategy.strategy() @ differences, draws, strict=True))
        assert len(set(draws)) == 6
