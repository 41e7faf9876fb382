"""Laws of core/accounting/attacker.py."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.accounting.attacker import gaussian_true_positives, true_positive_bound
from dpdau_assets.core.accounting.naive import event_epsilon
from dpdau_assets.core.accounting.pld import PldAccountant, pld_delta
from dpdau_assets.core.dp_events import NO_EVENTS, DiscreteGaussianEvent, DiscreteLaplaceEvent, repeat_event
from dpdau_tests.unit.core.accounting.cases import DELTA, GAUSSIAN_30, LAPLACE_30

SHARES = (0.01, 0.5)


class TestBound:
    @pytest.mark.parametrize(("stddev", "releases"), [(23.14, 30)])
    def test_is_the_gaussian_curve_for_gaussian_noise(self, stddev: float, releases: int) -> None:
        """It lies above the trade-off of mu = sqrt(n) / sigma by the accountant's rounding alone, small and large."""
        events = repeat_event(DiscreteGaussianEvent(stddev), releases)
        for share in SHARES:
            exact = gaussian_true_positives(releases**0.5 / stddev, false_positives=share)
            assert exact - 1e-4 <= true_positive_bound(events, false_positives=share) <= exact + 2e-3

    def test_of_one_pure_release_is_exp_epsilon(self) -> None:
        """One discrete Laplace release multiplies small shares by exp(epsilon), and nothing more."""
        event = DiscreteLaplaceEvent(2.0)
        epsilon = event_epsilon(event, delta=DELTA)
        assert true_positive_bound(repeat_event(event, 1), false_positives=0.01) == pytest.approx(
            0.01 * np.exp(epsilon), rel=0.01
        )

    def test_holds_against_the_best_attack_on_laplace_noise(self) -> None:
        """The best attack on 30 Laplace releases, computed exactly, stays below the bound and comes near."""
        # each release says "lower" or "higher": how many of 30 say "higher" is all that matters
        p = 1 / (1 + np.exp(-0.1))
        ways = np.array([1.0])
        for _ in range(30):
            ways = np.convolve(ways, [1.0, 1.0])
        successes = np.arange(31)
        absent, present = (ways * q**successes * (1 - q) ** (30 - successes) for q in (1 - p, p))
        shares, caught = absent[::-1].cumsum(), present[::-1].cumsum()
        inside = [(float(a), float(t)) for a, t in zip(shares, caught, strict=True) if 1e-3 < a < 0.5][::6]
        assert len(inside) >= 2
        for share, reached in inside:
            assert reached - 1e-9 <= true_positive_bound(LAPLACE_30, false_positives=share) <= reached + 0.01

    def test_nothing_released_is_guessing(self) -> None:
        """Without events a user is recognised as often as it is falsely called."""
        assert true_positive_bound(NO_EVENTS, false_positives=0.01) == 0.01


class TestDeltas:
    def test_agree_with_the_accountant(self) -> None:
        """The delta at the accountant's epsilon is the accountant's delta."""
        epsilon = PldAccountant().bound(GAUSSIAN_30, delta=DELTA).epsilon
        assert pld_delta(GAUSSIAN_30, epsilon) == pytest.approx(DELTA, rel=1e-3)
