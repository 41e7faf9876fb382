"""Laws of core/accounting/advanced.py."""

from __future__ import annotations

import math

import pytest

from dpdau_assets.core.accounting.advanced import AdvancedAccountant
from dpdau_assets.core.accounting.naive import event_epsilon
from dpdau_assets.core.dp_events import NO_EVENTS, PureDpEvent, merge_events, repeat_event
from dpdau_tests.unit.core.accounting.cases import ADVANCED_DELTA, DELTA, GAUSSIAN_30, LAPLACE_30

ADVANCED = AdvancedAccountant(ADVANCED_DELTA)


class TestAdvanced:
    def test_pure_losses_need_the_slack_only(self) -> None:
        """30 x discrete Laplace(0.1): the formula by hand, at delta = delta'."""
        by_hand = 30 * 0.1 * math.expm1(0.1) / (math.exp(0.1) + 1) + math.sqrt(2 * math.log(1e7) * 30 * 0.01)
        bound = ADVANCED.bound(LAPLACE_30, delta=DELTA)
        assert bound.epsilon == pytest.approx(by_hand)
        assert bound.delta == ADVANCED_DELTA

    def test_gaussian_losses_share_the_rest(self) -> None:
        """Each Gaussian loss is stated at (delta - delta') / n, and all deltas sum to delta."""
        (event, count), *_ = GAUSSIAN_30
        loss = event_epsilon(event, delta=(DELTA - ADVANCED_DELTA) / count)
        by_hand = count * loss * math.tanh(loss / 2) + loss * math.sqrt(2 * math.log(1e7) * count)
        bound = ADVANCED.bound(GAUSSIAN_30, delta=DELTA)
        assert bound.epsilon == pytest.approx(by_hand)
        assert bound.delta == pytest.approx(DELTA)

    def test_is_heterogeneous(self) -> None:
        """Different losses enter with their own squares."""
        mixed = merge_events(repeat_event(PureDpEvent(0.1), 3), repeat_event(PureDpEvent(0.5), 2))
        by_hand = 3 * 0.1 * math.tanh(0.05) + 2 * 0.5 * math.tanh(0.25) + math.sqrt(2 * math.log(1e7) * (0.03 + 0.5))
        assert ADVANCED.bound(mixed, delta=DELTA).epsilon == pytest.approx(by_hand)

    def test_admits_a_slack_that_is_too_large(self) -> None:
        """With a slack above delta the bound carries the larger delta, so that nobody takes it for one at delta."""
        assert AdvancedAccountant(1e-5).bound(GAUSSIAN_30, delta=DELTA).delta > DELTA
        assert AdvancedAccountant(1e-5).bound(LAPLACE_30, delta=DELTA).delta > DELTA

    def test_nothing_costs_nothing(self) -> None:
        """No events, no loss."""
        assert ADVANCED.bound(NO_EVENTS, delta=DELTA).epsilon == 0.0
