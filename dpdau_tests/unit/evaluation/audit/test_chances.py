"""The tails that audits judge by, against a second computation."""

from __future__ import annotations

import math

import pytest

from dpdau_assets.evaluation.audit.chances import binomial_lower, binomial_upper, chi_squared_tail, normal_tail


class TestTails:
    @pytest.mark.parametrize(
        ("statistic", "degrees", "tail"),
        [
            (18.307, 10, 0.05),
            (3.219, 2, 0.2),
            (35.564, 10, 1e-4),
            (3.841, 1, 0.05),
            (11.345, 3, 0.01),
            (124.342, 100, 0.05),
        ],
    )
    def test_chi_squared_agrees_with_the_tables(self, statistic: float, degrees: int, tail: float) -> None:
        """Published quantiles of the chi-squared law have their published tails."""
        assert chi_squared_tail(statistic, degrees=degrees) == pytest.approx(tail, rel=1e-3)

    def test_a_perfect_fit_has_tail_one(self) -> None:
        """A statistic of 0 is exceeded for certain."""
        assert chi_squared_tail(0.0, degrees=10) == 1.0

    def test_the_normal_tail_counts_both_sides(self) -> None:
        """5 % lie beyond 1.96 on either side, whichever the sign."""
        assert normal_tail(1.959963984540054) == pytest.approx(0.05) == normal_tail(-1.959963984540054)


class TestClopperPearson:
    @pytest.mark.parametrize(
        ("successes", "trials", "lower", "upper"), [(5, 10, 0.187086, 0.812914), (0, 20, 0.0, 0.168433)]
    )
    def test_known_intervals(self, successes: int, trials: int, lower: float, upper: float) -> None:
        """The 95 % intervals of published tables."""
        assert binomial_lower(successes, trials, alpha=0.025) == pytest.approx(lower, abs=1e-6)
        assert binomial_upper(successes, trials, alpha=0.025) == pytest.approx(upper, abs=1e-6)

    @pytest.mark.parametrize("chance", [0.05, 0.3, 0.62])
    def test_the_bound_covers(self, chance: float) -> None:
        """Summed over all outcomes, the true chance lies below the bound with probability at most alpha."""
        trials, alpha = 60, 0.05
        missed = math.fsum(
            math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k)
            for k in range(trials + 1)
            if binomial_lower(k, trials, alpha=alpha) > chance
        )
        assert 0 < missed <= alpha
