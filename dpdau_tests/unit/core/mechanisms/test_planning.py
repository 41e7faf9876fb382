"""Laws of core/mechanisms/planning.py."""

from __future__ import annotations

import pytest

from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import DiscreteGaussianEvent, EventCounts, repeat_event
from dpdau_assets.core.mechanisms.planning import MARGIN, PeriodPlan, smallest_noise_factor
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu, gdp_delta, gdp_epsilon
from dpdau_assets.errors import InternalError


class TestSmallestNoiseFactor:
    @pytest.mark.parametrize("releases", [1, 31])
    def test_fills_the_cap_and_does_not_exceed_it(self, releases: int) -> None:
        """At the factor the independent PLD is within the cap; at one 1e-5 smaller it would not be."""
        from dp_accounting.pld import privacy_loss_distribution

        plan = PeriodPlan(releases, 1.0, 1e-6)
        stddev = 0.99 * releases**0.5 / plan.mu

        def events_at(factor: float) -> EventCounts:
            return repeat_event(DiscreteGaussianEvent(factor * stddev), releases)

        def loss(factor: float) -> float:
            single = privacy_loss_distribution.from_discrete_gaussian_mechanism(
                factor * stddev, sensitivity=1, use_connect_dots=True
            )
            return float(single.self_compose(releases).get_epsilon_for_delta(1e-6))

        factor = smallest_noise_factor(events_at, plan)
        assert 1.009 < factor < 1.02
        assert loss(factor) <= 1.0
        assert loss(factor / (1 + 1e-5)) > 1.0 - MARGIN

    def test_wide_noise_needs_no_numerical_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At a cap of 0.01 the closed form is so close that nothing else is asked, and f stays below 1.0001."""

        def never(*_: object, **__: object) -> None:
            raise AssertionError("PLD was asked")

        plan = PeriodPlan(33, 0.01, 1e-6)
        monkeypatch.setattr(PldAccountant, "bound", never)
        stddev = 33**0.5 / plan.mu
        factor = smallest_noise_factor(lambda f: repeat_event(DiscreteGaussianEvent(f * stddev), 33), plan)
        assert 1 <= factor < 1.0001

    def test_more_noise_than_needed_is_left_alone(self) -> None:
        """A shape that fits already gets factor 1."""
        plan = PeriodPlan(4, 1.0, 1e-6)
        assert smallest_noise_factor(lambda f: repeat_event(DiscreteGaussianEvent(20 * f), 4), plan) == 1.0

    def test_a_plan_releases_something(self) -> None:
        """A period without releases cannot be planned."""
        with pytest.raises(InternalError):
            PeriodPlan(0, 1.0, 1e-6)


class TestGaussianDp:
    @pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.9])
    def test_epsilon_and_mu_are_inverse(self, epsilon: float) -> None:
        """From epsilon to mu and back; rounding never claims a smaller loss than delta allows."""
        mu = gaussian_mu(epsilon, 1e-6)
        assert gdp_epsilon(1e-6, mu=mu) == pytest.approx(epsilon, rel=1e-10)
        assert gdp_delta(gdp_epsilon(1e-6, mu=mu), mu=mu) <= 1e-6

    def test_no_loss_where_delta_covers_everything(self) -> None:
        """A mu whose total variation is below delta costs epsilon 0."""
        assert gdp_epsilon(1e-3, mu=1e-3) == 0.0
