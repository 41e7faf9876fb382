"""Laws of core/mechanisms/flip_sensitivity.py: certificates against trying everything."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dpdau_assets.core.accounting.gdp import GdpAccountant
from dpdau_assets.core.dp_events import repeat_event
from dpdau_assets.core.horizon import flip_sensitivity
from dpdau_assets.core.horizon.factorisation import SquareRootStrategy
from dpdau_assets.core.horizon.flip_patterns import PatternSet
from dpdau_assets.core.horizon.flip_sensitivity import certified_sensitivity, horizon_noise, series_gram, value_of
from dpdau_assets.core.horizon.tree import even_tree
from dpdau_assets.errors import ConfigurationError

SETS = [PatternSet(12, 4), PatternSet(11, 3, 1), PatternSet(11, 3, 1, has_return=False), PatternSet(10, 4, 2)]


def brute_force(gram: np.ndarray, patterns: PatternSet) -> int:
    """The largest v'Pv, by trying all 2^T series."""
    return max(
        value_of(gram, series) for series in product((0, 1), repeat=patterns.horizon_days) if patterns.allows(series)
    )


def random_gram(horizon: int, seed: int) -> np.ndarray:
    """P of a random strategy: both signs at every distance."""
    return series_gram(np.random.default_rng(seed).integers(-9, 10, (horizon, horizon)))


class TestCertificate:
    @pytest.mark.parametrize("patterns", SETS, ids=str)
    def test_equals_brute_force(self, patterns: PatternSet) -> None:
        """On horizons within the window it is the maximum, and its witness is allowed and reaches it."""
        strategies = [SquareRootStrategy(patterns.horizon_days).strategy(), even_tree(patterns.horizon_days).strategy()]
        grams = [series_gram(strategy) for strategy in strategies] + [random_gram(patterns.horizon_days, 4)]
        for gram in grams:
            certificate = certified_sensitivity(gram, patterns)
            assert certificate.squared_sensitivity == brute_force(gram, patterns)
            assert certificate.is_exact
            assert patterns.allows(certificate.witness)
            assert value_of(gram, certificate.witness) == certificate.reached

    @pytest.mark.parametrize("patterns", SETS, ids=str)
    @pytest.mark.parametrize("window_days", [4, 7])
    def test_a_shorter_window_never_bounds_too_low(
        self, monkeypatch: pytest.MonkeyPatch, patterns: PatternSet, window_days: int
    ) -> None:
        """With pairs of days beyond the window replaced, the bound lies at or above the maximum, the witness at or
        below it."""
        monkeypatch.setattr(flip_sensitivity, "WINDOWS", (0, window_days))
        monkeypatch.setattr(flip_sensitivity, "WIDEST_GAP", 1e9)
        loose = 0
        for seed in range(3):
            gram = random_gram(patterns.horizon_days, seed)
            certificate, best = certified_sensitivity(gram, patterns), brute_force(gram, patterns)
            assert certificate.reached <= best <= certificate.squared_sensitivity
            assert patterns.allows(certificate.witness)
            loose += not certificate.is_exact
        assert loose > 0

    def test_a_gap_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bound that may be far from the truth is no certificate: one line, no noise."""
        monkeypatch.setattr(flip_sensitivity, "WINDOWS", (0, 2))
        with pytest.raises(ConfigurationError, match="no bound can be certified") as refused:
            certified_sensitivity(random_gram(12, 1), PatternSet(12, 4))
        assert "\n" not in str(refused.value)
        assert refused.value.hint

    def test_too_many_series_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no window keeps few enough ends nothing is certified."""
        monkeypatch.setattr(flip_sensitivity, "MOST_ENDS", 5)
        with pytest.raises(ConfigurationError):
            certified_sensitivity(random_gram(12, 1), PatternSet(12, 1))

    def test_patterns_outside_the_set_cost_more(self) -> None:
        """What is not enforced is not covered: a run of 23 days moves a month's answers further than the bound."""
        gram = series_gram(SquareRootStrategy(45).strategy())
        bound = certified_sensitivity(gram, PatternSet(45, 30)).squared_sensitivity
        assert certified_sensitivity(gram, PatternSet(45, 23)).reached > 1.01 * bound


class TestNoise:
    @pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
    def test_the_whole_horizon_costs_what_was_asked(self, epsilon: float) -> None:
        """The one event of a horizon has epsilon at delta, to ten digits, in fine units and in coarse ones."""
        for squared_sensitivity in (12, 5 * 2**40):
            event = horizon_noise(squared_sensitivity, epsilon=epsilon, delta=1e-6).event()
            loss = GdpAccountant().bound(repeat_event(event, 1), delta=1e-6).epsilon
            assert loss == pytest.approx(epsilon, rel=1e-10)
