"""What changes are covered, and what they cost, against matrices written out."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from dpdau_assets.core.dp_events import (
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    VectorGaussianEvent,
    count_events,
    repeat_event,
)
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.gaussian import DiscreteGaussian
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import Metric
from dpdau_assets.evaluation.audit.chances import NORMAL
from dpdau_assets.evaluation.audit.claims import (
    Change,
    changes_between,
    claimed_squared_mu,
    pure_mu,
    short_runs,
    squared_mu,
    squared_mu_of,
    uncovered,
    worst_pattern_days,
)
from dpdau_assets.evaluation.audit.recorder import Reading
from dpdau_assets.storage.ledger.accounts import Account

DAY = date(2025, 3, 1)
CORRELATED = CorrelatedGaussian(18.1, 7.4, 33, 1e-6)


def changes(metric: Metric, *moves: int) -> list[Change]:
    return [Change(metric, DAY + timedelta(days=offset), move) for offset, move in enumerate(moves)]


class TestCoveredChanges:
    def test_only_zero_and_one_are_covered(self) -> None:
        """A user who moves a number by anything else is named with metric, day and amount."""
        assert uncovered(changes("dau", 0, 1, 1, 0)) == []
        assert uncovered(changes("dau", 0, 2, -1)) == ["dau of 2025-03-02 moved by 2", "dau of 2025-03-03 moved by -1"]

    def test_joint_noise_covers_nested_users_only(self) -> None:
        """Active on the day but not in its month is no user that joint noise knows."""
        triple = [Change("dau", DAY, 1), Change("wau", DAY, 1), Change("mau", DAY, 0)]
        assert uncovered(triple) == []
        assert uncovered(triple, joint=True) == ["dau, wau and mau of 2025-03-01 moved by (1, 1, 0)"]

    def test_worlds_that_read_other_windows_cannot_be_compared(self) -> None:
        """Other thresholds or days without the user are themselves a finding."""
        one, other = Reading("dau", DAY, 2**64, 5), Reading("dau", DAY, 2**63, 5)
        assert isinstance(changes_between([one], [other]), str)
        assert changes_between([one], [Reading("dau", DAY, 2**64, 4)]) == [Change("dau", DAY, 1)]

    def test_short_runs_are_those_between_absences(self) -> None:
        """A run that touches either end of the releases may be longer than it looks; one in between is what it is."""
        assert short_runs(changes("mau", 1, 1, 0, 0, 1), metric="mau", at_least=30) == []
        assert len(short_runs(changes("mau", 0, 1, 1, 0, 1, 0), metric="mau", at_least=30)) == 2
        assert short_runs(changes("mau", 0, 1, 1, 0), metric="mau", at_least=2) == []


class TestCost:
    def test_independent_noise_adds_squares(self) -> None:
        """n changes of 1 cost n / sigma^2, which is what n charges stand for."""
        noise = DiscreteGaussian(13.0, 0.3, 1e-6)
        assert squared_mu(noise, np.ones(7)) == pytest.approx(7 / 169)
        assert claimed_squared_mu(repeat_event(noise.event(), 7)) == pytest.approx(7 / 169)

    def test_correlated_noise_costs_v_p_v(self) -> None:
        """The cost is (2v)' S^-1 (2v) with S = sg^2 I + sh^2 11', inverted by numpy."""
        pattern = np.array([1.0, 0, 1, 1, 0, 0, 1])
        covariance = 18.1**2 * np.eye(7) + 7.4**2 * np.ones((7, 7))
        expected = 4 * pattern @ np.linalg.inv(covariance) @ pattern
        assert squared_mu(CORRELATED, pattern) == pytest.approx(expected)

    def test_no_pattern_costs_more_than_the_charges_of_correlated_noise(self) -> None:
        """Over all 2^10 patterns of ten releases the cost stays within opening plus releases, and comes close."""
        events = count_events([DiscreteGaussianEvent(18.1)] * 10 + [DiscreteGaussianEvent(7.4)])
        costs = [
            squared_mu(CORRELATED, np.array([float(number >> bit & 1) for bit in range(10)])) for number in range(1024)
        ]
        assert 0.9 * claimed_squared_mu(events) < max(costs) <= claimed_squared_mu(events)

    def test_the_worst_pattern_of_a_month_has_about_18_days(self) -> None:
        """Neither the every-day user nor a rare one is guessed best under a shared offset."""
        assert 16 <= worst_pattern_days(CORRELATED, 30) <= 20

    def test_joint_noise_costs_v_p_v(self) -> None:
        """For vectors the covariance is sg^2 I plus sh^2 d d' over all releases, inverted by numpy."""
        joint = joint_gaussian(PeriodPlan(30, 5.9, 1e-6))
        account = Account(1, "joint", "2025-03", 1, "joint", joint.parameters, 5.9, 1e-6, 6.0, 29.0, "")
        vectors = [(1, 1, 1), (0, 1, 1), (0, 0, 1)]
        moved = [
            Change(metric, DAY + timedelta(days=number), move)
            for number, vector in enumerate(vectors)
            for metric, move in zip(("dau", "wau", "mau"), vector, strict=True)
        ]
        stacked = np.concatenate([joint.shape.apply(vector) for vector in vectors]).astype(float)
        direction = np.tile(np.array(joint.shape.centre, dtype=float), 3)
        covariance = joint.release_stddev**2 * np.eye(9) + joint.shared_stddev**2 * np.outer(direction, direction)
        assert squared_mu_of(account, moved) == pytest.approx(stacked @ np.linalg.inv(covariance) @ stacked)
        charged = count_events(
            [VectorGaussianEvent(joint.release_stddev, joint.shape.squared_radius)] * 3
            + [DiscreteGaussianEvent(joint.shared_stddev)]
        )
        assert squared_mu_of(account, moved) <= claimed_squared_mu(charged)

    def test_a_search_is_paid_for_by_what_dominates_it(self) -> None:
        """Levels of a search are no releases: v'Pv is that of the releases, and the search adds its own, once."""
        account = Account(1, "dau", "2025-03", 1, "correlated", CORRELATED.parameters, 3.0, 1e-6, 6.0, 29.0, "")
        released = changes("dau", 1, 1, 0)
        levels = [Change("dau", DAY, move, is_search=True) for move in (0, 1, 1)]
        alone = squared_mu_of(account, released)
        assert squared_mu_of(account, [*levels, *released]) == pytest.approx(alone + pure_mu(0.05) ** 2)
        assert squared_mu_of(account, [*levels[:1], *released]) == pytest.approx(alone)

    def test_pure_losses_are_dominated(self) -> None:
        """An epsilon-DP guess with a false positives has at most e^epsilon a true ones: never above the Gaussian."""
        epsilon = 0.3
        mu = pure_mu(epsilon)
        for share in np.linspace(0.001, 0.999, 200):
            pure = min(np.exp(epsilon) * share, 1 - np.exp(-epsilon) * (1 - share))
            assert pure <= NORMAL.cdf(NORMAL.inv_cdf(float(share)) + mu) + 1e-12
        assert claimed_squared_mu(((DiscreteLaplaceEvent(1 / epsilon), 4),)) == pytest.approx(4 * mu**2)
