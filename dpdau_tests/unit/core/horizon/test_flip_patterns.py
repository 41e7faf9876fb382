"""Laws of core/mechanisms/flip_patterns.py: an automaton against the rule in words."""

from __future__ import annotations

from itertools import groupby, product

import pytest

from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.errors import InternalError

SETS = [
    PatternSet(9, 3),
    PatternSet(9, 1),
    PatternSet(8, 3, 1),
    PatternSet(8, 4, 2),
    PatternSet(9, 3, 1, has_return=False),
    PatternSet(9, 3, 2, has_return=False),
]


def follows_the_rule(series: tuple[int, ...], patterns: PatternSet) -> bool:
    """The rule read from left to right: runs of days in that touch neither end and are too short are cuts."""
    runs = [(is_in, len(list(days))) for is_in, days in groupby(series)]
    cuts = [
        place
        for place, (is_in, length) in enumerate(runs)
        if is_in and 0 < place < len(runs) - 1 and length < patterns.shortest_run_days
    ]
    if len(cuts) > patterns.short_cuts:
        return False
    is_final = not patterns.has_return and len(cuts) == patterns.short_cuts > 0
    return not is_final or not any(is_in for is_in, _ in runs[cuts[-1] + 1 :])


class TestPatternSet:
    @pytest.mark.parametrize("patterns", SETS, ids=str)
    def test_allows_what_the_rule_allows(self, patterns: PatternSet) -> None:
        """Over all 2^T series the automaton and the rule in words agree, and each says no to some."""
        everything = list(product((0, 1), repeat=patterns.horizon_days))
        allowed = [series for series in everything if patterns.allows(series)]
        assert allowed == [series for series in everything if follows_the_rule(series, patterns)]
        assert (len(allowed) < len(everything)) == (patterns.shortest_run_days > 1)

    @pytest.mark.parametrize("patterns", SETS, ids=str)
    def test_most_flips_is_the_most_of_all_series(self, patterns: PatternSet) -> None:
        """No allowed series changes more often, and one changes as often."""
        flips = [
            sum(before != day for before, day in zip((0, *series), series, strict=False))
            for series in product((0, 1), repeat=patterns.horizon_days)
            if patterns.allows(series)
        ]
        assert patterns.most_flips() == max(flips)

    def test_counts_flips_of_a_month_and_a_year(self) -> None:
        """With runs of 30 days: 3 flips in 30 days, 5 with an erasure and return, 25 in 365 days."""
        assert PatternSet(30, 30).most_flips() == 3
        assert PatternSet(30, 30, 1).most_flips() == 5
        assert PatternSet(365, 30).most_flips() == 25

    def test_a_series_of_another_length_is_none_of_them(self) -> None:
        """A series must be as long as the horizon."""
        assert not PatternSet(9, 3).allows((0,) * 8)

    @pytest.mark.parametrize("numbers", [(0, 3, 0), (3, 0, 0), (3, 3, -1)])
    def test_needs_a_horizon(self, numbers: tuple[int, int, int]) -> None:
        """Empty horizons, empty runs and negative cuts are refused."""
        with pytest.raises(InternalError):
            PatternSet(*numbers)
