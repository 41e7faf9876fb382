"""Simulated months of correlated and joint noise against the stated errors, covariances and intervals.

2,000 months for each case, drawn from the exact pmf with fixed seeds. The mean square of a month varies because its
days share the offset: its relative standard deviation is below 0.4, so a root mean square over 2,000 months lies within
4 x 0.4 / (2 sqrt 2000) = 1.8 % of the true one. Noise of 0.9 of the stated size leaves that band; every case is run
with it as its negative control.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from dpdau_assets.core.mechanisms.correlated import correlated_gaussian
from dpdau_assets.core.mechanisms.intervals import NORMAL_975, interval_95
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf

MONTHS = 2000
BAND = 0.018
DELTA = 1e-6


def draws(pmf: Pmf, size: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    smallest, probabilities = pmf
    return smallest + rng.choice(len(probabilities), size=size, p=probabilities).astype(np.int64)


def correlated_months(cap: float, *, days: int = 31, reserve: int = 2) -> npt.NDArray[np.int64]:
    """Noise of simulated months in half users: int64[MONTHS, days]."""
    mechanism = correlated_gaussian(PeriodPlan(days + reserve, cap, DELTA))
    rng = np.random.default_rng([5, round(10 * cap), days])
    fresh = draws(discrete_gaussian_pmf(mechanism.release_stddev), (MONTHS, days), rng)
    return fresh + draws(discrete_gaussian_pmf(mechanism.shared_stddev), (MONTHS, 1), rng)


class TestCorrelatedMonths:
    @pytest.mark.parametrize(("cap", "bar", "stated"), [(3.0, 5.3, 5.206), (3.5, 4.7, 4.534)])
    def test_error_at_the_default_caps(self, cap: float, bar: float, stated: float) -> None:
        """With two revisions in reserve the error of DAU is below 5.3 users and that of MAU below 4.7."""
        error = math.sqrt(float((correlated_months(cap) ** 2).mean())) / 2
        assert error <= bar
        assert error == pytest.approx(stated, rel=BAND)
        assert 0.9 * error != pytest.approx(stated, rel=BAND)

    def test_days_of_a_month_share_one_noise_and_nothing_else(self) -> None:
        """The covariance of two days is that of the offset alone, and of two months zero: 4 standard errors each."""
        mechanism = correlated_gaussian(PeriodPlan(33, 3.0, DELTA))
        noise = correlated_months(3.0).astype(np.float64)
        shared, spread = mechanism.shared_stddev**2, mechanism.release_stddev**2 + mechanism.shared_stddev**2
        for gap in (1, 7, 30):
            error = 4 * spread / math.sqrt(MONTHS)
            assert float((noise[:, 0] * noise[:, gap]).mean()) == pytest.approx(shared, abs=error)
        assert abs(float((noise[1:, 0] * noise[:-1, 0]).mean())) < 4 * spread / math.sqrt(MONTHS)

    def test_differences_of_days_do_not_feel_it(self) -> None:
        """Within a month the offset cancels: two days differ with the fresh noise of both, sqrt 2 x 4.80 users."""
        noise = correlated_months(3.0).astype(np.float64) / 2
        difference = float((noise[:, 0] - noise[:, 1]).std())
        assert difference == pytest.approx(math.sqrt(2) * 4.805, rel=4 / math.sqrt(2 * MONTHS))

    @pytest.mark.parametrize("cap", [3.0, 3.5])
    def test_intervals_cover(self, cap: float) -> None:
        """One release of each of 2,000 months: 95 % to within 4 standard errors above, at most 1.5 % more."""
        mechanism = correlated_gaussian(PeriodPlan(33, cap, DELTA))
        noise, truth = correlated_months(cap)[:, 4], 5000
        bounds = [interval_95(2 * truth + int(value), mechanism) for value in noise]
        covered = float(np.mean([lower <= truth <= upper for lower, upper in bounds]))
        assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / MONTHS) <= covered <= 0.985
        width = float(np.mean([upper - lower for lower, upper in bounds]))
        assert width <= 1.05 * float(np.quantile(np.abs(noise), 0.95)) + 0.5


class TestJointMonths:
    @pytest.mark.parametrize(("cap", "bar"), [(1.0, 20.0), (5.9, 4.2)])
    def test_errors(self, cap: float, bar: float) -> None:
        """At (1, 1e-6) and T = 30 each of the three errors is at most 20 users; at the default cap below 4.2."""
        mechanism = joint_gaussian(PeriodPlan(30, cap, DELTA))
        rng = np.random.default_rng([6, round(10 * cap)])
        fresh = draws(discrete_gaussian_pmf(mechanism.release_stddev), (MONTHS, 30, 3), rng)
        offset = draws(discrete_gaussian_pmf(mechanism.shared_stddev), (MONTHS, 1, 1), rng)
        noise = (fresh + offset * np.array(mechanism.shape.centre)) @ mechanism.shape.inverse().T
        errors = np.sqrt((noise**2).mean(axis=(0, 1)))
        assert errors.max() <= bar
        assert errors == pytest.approx(mechanism.noise_stddevs(), rel=BAND)
        assert (0.9 * errors)[0] != pytest.approx(mechanism.noise_stddevs()[0], rel=BAND)
        reach = NORMAL_975 * np.array(mechanism.noise_stddevs())
        covered = (np.abs(noise[:, 4]) <= reach).mean(axis=0)
        assert covered == pytest.approx([0.95] * 3, abs=4 * math.sqrt(0.95 * 0.05 / MONTHS))
