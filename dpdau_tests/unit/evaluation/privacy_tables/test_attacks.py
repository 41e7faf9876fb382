"""Laws of evaluation/privacy_tables/attacks.py."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.joint_shape import VERTICES
from dpdau_assets.evaluation.audit.claims import claimed_squared_mu
from dpdau_assets.evaluation.audit.sources import exact_noise
from dpdau_assets.evaluation.privacy_tables.attacks import joint_days_told_best, joint_scores
from dpdau_assets.evaluation.privacy_tables.scenarios import MONTH, month_of_all
from dpdau_assets.evaluation.privacy_tables.simulation import Simulation


class TestJointDays:
    def test_no_other_days_are_told_better(self) -> None:
        """The days told best cost more than every day, than days at random, and nearly what is charged."""
        simulation, generator = Simulation(2, exact_noise(1)), np.random.default_rng(2)
        best = joint_scores(simulation, joint_days_told_best(MONTH))[1]
        others = [[VERTICES[place] for place in generator.integers(0, 4, MONTH)] for _ in range(50)]
        assert best >= max(joint_scores(simulation, days)[1] for days in [[(1, 1, 1)] * MONTH, *others])
        charged = claimed_squared_mu(month_of_all("joint"))
        assert 0.98 * charged < best <= charged * (1 + 1e-9)

    @pytest.mark.parametrize("days", [1, 5])
    def test_are_as_many_as_asked(self, days: int) -> None:
        """A month has its number of days, each one of the four vectors."""
        found = joint_days_told_best(days)
        assert len(found) == days
        assert set(found) <= set(VERTICES)
