"""Laws of core/mechanisms/correlated.py, with the figures that the documentation states."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import EventCounts, PureDpEvent, merge_events, repeat_event
from dpdau_assets.core.mechanisms import correlated as module
from dpdau_assets.core.mechanisms.calibration import mechanism_from, mechanism_from_parameters
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian, correlated_gaussian
from dpdau_assets.core.mechanisms.intervals import interval_95
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.probability.distributions import discrete_gaussian_pmf
from dpdau_assets.errors import ConfigurationError, InternalError

DELTA = 1e-6
CAPS = {"dau": 3.0, "mau": 3.5}


def stddev(mechanism: CorrelatedGaussian) -> float:
    return math.sqrt(mechanism.noise_variance())


class TestFigures:
    @pytest.mark.parametrize(
        ("releases", "cap", "expected"),
        [(33, 3.0, 5.21), (33, 3.5, 4.535), (31, 3.0, 5.07), (31, 3.5, 4.415)],
    )
    def test_noise_at_the_default_caps(self, releases: int, cap: float, expected: float) -> None:
        """A month of 31 days: 5.21 (DAU) and 4.54 (MAU) users with two revisions in reserve, 5.07 and 4.41 without."""
        assert stddev(correlated_gaussian(PeriodPlan(releases, cap, DELTA))) == pytest.approx(expected, abs=0.005)

    @pytest.mark.parametrize(("cap", "independent"), [(3.0, 8.60), (3.5, 7.49)])
    def test_saves_two_fifths_of_independent_noise(self, cap: float, independent: float) -> None:
        """Independent Gaussian noise that fills the same cap over 31 days is 8.60 and 7.49: 1.7 times as large."""
        plan = PeriodPlan(31, cap, DELTA)
        assert math.sqrt(31) / plan.mu == pytest.approx(independent, abs=0.005)
        assert stddev(correlated_gaussian(plan)) < 0.6 * independent

    def test_is_the_optimum(self) -> None:
        """The standard deviation is (1 + sqrt T) / (2 mu), to the 0.2 % that the lattice may cost."""
        for releases in (1, 7, 33, 365):
            plan = PeriodPlan(releases, 2.0, DELTA)
            bound = (1 + math.sqrt(releases)) / (2 * plan.mu)
            assert bound * (1 - 1e-9) <= stddev(correlated_gaussian(plan)) <= 1.002 * bound

    def test_months_and_years_that_fill_their_caps(self) -> None:
        """All three metrics compose to 5.91 in a full month of 31 days and to 27.1 over twelve full months."""

        def month(cap: float, days: int) -> EventCounts:
            mechanism = correlated_gaussian(PeriodPlan(days + 2, cap, DELTA))
            return merge_events(mechanism.shared_noise_charge(), repeat_event(mechanism.event(), days + 2))

        caps, lengths = (3.0, 3.0, 3.5), (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        one = merge_events(*(month(cap, 31) for cap in caps))
        year = merge_events(*(month(cap, days) for cap in caps for days in lengths))
        assert PldAccountant().bound(one, delta=DELTA).epsilon == pytest.approx(5.91, abs=0.005)
        assert PldAccountant().bound(year, delta=DELTA).epsilon == pytest.approx(27.1, abs=0.05)


class TestLoss:
    @pytest.mark.parametrize("releases", [28, 30, 31, 33])
    @pytest.mark.parametrize("cap", [0.5, 3.0, 3.5])
    @pytest.mark.one_is_enough
    def test_everything_planned_fits_and_one_more_does_not(self, releases: int, cap: float) -> None:
        """Opening and all T releases stay within the cap and use 99.9 % of it; a release more exceeds it."""
        mechanism = correlated_gaussian(PeriodPlan(releases, cap, DELTA))
        losses = [
            PldAccountant()
            .bound(merge_events(mechanism.shared_noise_charge(), repeat_event(mechanism.event(), count)), delta=DELTA)
            .epsilon
            for count in (releases, releases + 1)
        ]
        assert 0.999 * cap < losses[0] <= cap < losses[1]

    def test_a_reserved_search_fits_as_well(self) -> None:
        """With the search for a first threshold in the plan, it fits beside everything else for 0.3 % more noise."""
        search = repeat_event(PureDpEvent(0.05), 1)
        plain = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA, search))
        events = merge_events(search, mechanism.shared_noise_charge(), repeat_event(mechanism.event(), 33))
        assert 2.99 < PldAccountant().bound(events, delta=DELTA).epsilon <= 3.0
        assert stddev(plain) < stddev(mechanism) < 1.005 * stddev(plain)

    def test_a_known_shared_noise_would_double_it(self) -> None:
        """Whoever learns h sees sensitivity 2 in every release: 3.0 becomes 5.98, which is why h is sealed."""
        from dp_accounting.pld import privacy_loss_distribution

        mechanism = correlated_gaussian(PeriodPlan(31, 3.0, DELTA))
        known = privacy_loss_distribution.from_discrete_gaussian_mechanism(
            mechanism.release_stddev, sensitivity=2, use_connect_dots=True
        )
        assert known.self_compose(31).get_epsilon_for_delta(DELTA) == pytest.approx(5.98, abs=0.01)

    def test_no_pattern_of_days_costs_more(self) -> None:
        """With v = 2 x the change of the draws and P their precision, v' P v is at most the squared mu of the charges
        for every number of days, reaches 99 % of it at the worst, and exceeds it without the offset."""
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        fresh, shared = mechanism.release_stddev**2, mechanism.shared_stddev**2
        charged = 33 / fresh + 1 / shared
        precision = np.linalg.inv(fresh * np.eye(33) + shared * np.ones((33, 33)))
        patterns = [np.array([2.0] * days + [0.0] * (33 - days)) for days in range(34)]
        losses = [float(change @ precision @ change) for change in patterns]
        assert 0.99 * charged < max(losses) <= charged * (1 + 1e-12)
        assert losses.index(max(losses)) in range(17, 23)
        assert max(float(change @ change) / fresh for change in patterns) > 3 * charged


class TestNoise:
    def test_a_draw_is_twice_the_count_plus_both_noises(self) -> None:
        """With the source's draw known, what is left of a draw is 2 X + h."""
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        fresh = SeededNoise(b"k" * 16).discrete_gaussian(mechanism.release_stddev)
        assert mechanism.draw(1000, SeededNoise(b"k" * 16), shared_noise=-7) == 2000 + fresh - 7
        assert mechanism.draw_shared_noise(SeededNoise(b"k" * 16)) == SeededNoise(b"k" * 16).discrete_gaussian(
            mechanism.shared_stddev
        )

    def test_no_shared_noise_no_draw(self) -> None:
        """Without its offset the mechanism would promise what it does not keep, so it draws nothing."""
        with pytest.raises(InternalError):
            correlated_gaussian(PeriodPlan(33, 3.0, DELTA)).draw(1, SeededNoise(b"k" * 16))
        with pytest.raises(InternalError):
            mechanism_from("gaussian", epsilon=0.3, delta=DELTA).draw(1, SeededNoise(b"k" * 16), shared_noise=3)

    def test_the_pmf_is_that_of_the_sum(self) -> None:
        """Pr[g + h = x] summed over h by hand equals the stated pmf; its variance is both noises'."""
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        (g_low, g), (h_low, h) = map(discrete_gaussian_pmf, (mechanism.release_stddev, mechanism.shared_stddev))
        low, summed = mechanism.noise_pmf()
        for x in (-30, 0, 5, 19):
            by_hand = sum(g[x - value - g_low] * h[value - h_low] for value in range(-40, 41))
            assert summed[x - low] == pytest.approx(by_hand, rel=1e-12)
        values = np.arange(low, low + len(summed))
        assert float(summed @ values**2) / 4 == pytest.approx(mechanism.noise_variance(), rel=1e-9)

    def test_long_convolutions_agree_with_short_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The Fourier route gives the same pmf to 1e-15."""
        direct = module.sum_pmf(20.0, 8.0)
        module.sum_pmf.cache_clear()
        monkeypatch.setattr(module, "DIRECT_CONVOLUTION", 0)
        by_fourier = module.sum_pmf(20.0, 8.0)
        module.sum_pmf.cache_clear()
        assert by_fourier[0] == direct[0]
        assert np.abs(by_fourier[1] - direct[1]).max() < 1e-15

    @pytest.mark.parametrize("cap", [0.5, 3.0, 3.5, 20.0])
    def test_the_interval_is_the_shortest_that_holds(self, cap: float) -> None:
        """By the exact pmf the whole users between the bounds hold the truth in at least 95 % of draws, and shrinking
        the reach by one half user on each side would lose that."""
        mechanism = correlated_gaussian(PeriodPlan(33, cap, DELTA))
        low, noise = mechanism.noise_pmf()
        truth, covered, shorter = 5000, 0.0, 0.0
        reach = mechanism.noise_quantile(0.975)
        for value, probability in zip(range(low, low + len(noise)), noise, strict=True):
            lower, upper = interval_95(2 * truth + value, mechanism)
            assert lower <= upper
            assert upper - lower <= reach
            covered += probability * (lower <= truth <= upper)
            shorter += probability * (abs(value) < reach)
        assert covered >= 0.95 > shorter


class TestParameters:
    def test_are_the_whole_mechanism(self) -> None:
        """Name and stored parameters give the same mechanism back."""
        mechanism = mechanism_from("correlated", epsilon=0.3, delta=DELTA, plan=PeriodPlan(33, 3.0, DELTA))
        assert mechanism_from_parameters(mechanism.name, mechanism.parameters) == mechanism

    def test_need_a_plan(self) -> None:
        """Correlated noise exists for a planned period only."""
        with pytest.raises(ConfigurationError):
            mechanism_from("correlated", epsilon=0.3, delta=DELTA)

    def test_the_event_states_its_own_loss(self) -> None:
        """`epsilon` is that of one release event at delta: 0.414 at a cap of 3 over 33 releases."""
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        alone = PldAccountant().bound(repeat_event(mechanism.event(), 1), delta=DELTA).epsilon
        assert mechanism.epsilon == pytest.approx(alone, abs=1e-3)
