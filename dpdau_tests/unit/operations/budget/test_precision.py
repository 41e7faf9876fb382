"""How far the next value would err: closed forms beside the stated numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import METRICS
from dpdau_assets.operations.budget.precision import Precision, next_precision
from dpdau_assets.settings.settings import Settings

PLAN = PeriodPlan(31, 3.0, 1e-6)
NOISE = mechanism_from("gaussian", epsilon=0.5, delta=1e-6, plan=PLAN)
USERS = 1_000_000


def first_precision(**overrides: Any) -> Precision:
    """The precision of a first release of dau."""
    return next_precision(Settings(**overrides), NOISE, None, metric="dau", period="2025-01")


class TestNextPrecision:
    def test_exact_counts_err_by_the_noise_alone(self) -> None:
        """No sampling error, the noise's own deviation, and about 2 * 1.96 of it as the width."""
        stated = first_precision(sketch_impl="set")
        assert (stated.sampling_stddev, stated.share, stated.users, stated.is_lower_bound) == (0.0, 1.0, None, False)
        assert stated.noise_stddev == pytest.approx(math.sqrt(NOISE.noise_variance()), rel=1e-6)
        assert stated.interval_width == pytest.approx(2 * 1.96 * stated.noise_stddev, rel=0.05)

    def test_a_sample_adds_its_error_and_divides_the_noise_by_its_share(self) -> None:
        """Of n users a share p errs by sqrt(n (1 - p) / p), and its noise counts 1 / p times."""
        stated = first_precision(
            sketch_impl="kmv", sketch_k=4096, expected_users=USERS, delta=1e-8, advanced_delta=1e-9
        )
        assert stated.share is not None and 0 < stated.share < 4096 / USERS and stated.users == USERS
        assert stated.sampling_stddev == pytest.approx(math.sqrt(USERS * (1 - stated.share) / stated.share), rel=0.01)
        assert stated.noise_stddev == pytest.approx(math.sqrt(NOISE.noise_variance()) / stated.share, rel=0.01)

    def test_an_unknown_sample_states_the_least_error(self) -> None:
        """Before a first threshold is searched only the error of counting everybody can be told."""
        stated = first_precision(sketch_impl="kmv", sketch_k=65_536)
        assert stated.is_lower_bound
        assert (stated.share, stated.sampling_stddev, stated.users) == (None, None, None)
        assert stated.noise_stddev == pytest.approx(math.sqrt(NOISE.noise_variance()))

    def test_joint_noise_states_the_error_of_the_metric_asked_for(self) -> None:
        """Each metric of a joint draw has a noise of its own."""
        joint = joint_gaussian(PLAN)
        exact = Settings(sketch_impl="set")
        stated = [next_precision(exact, joint, None, metric=metric, period="2025-01") for metric in METRICS]
        assert [one.noise_stddev for one in stated] == list(joint.noise_stddevs())
        assert [one.interval_width for one in stated] == [
            pytest.approx(2 * 1.96 * one.noise_stddev, rel=1e-3) for one in stated
        ]
