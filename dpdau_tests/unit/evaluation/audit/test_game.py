"""The guessing game: it bounds a known mu from below, and sees noise of half the scale."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.joint import joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.evaluation.audit.claims import squared_mu
from dpdau_assets.evaluation.audit.game import GameResult, judge, run_game, run_joint_game
from dpdau_assets.evaluation.audit.sources import HalfScaleNoise, exact_noise, secure_noise

PLAN = PeriodPlan(30, 3.0, 1e-6)
DAYS = 28


def game(mechanism: Mechanism, active: int, *, is_halved: bool, runs: int = 3000) -> GameResult:
    source = exact_noise(11)
    return run_game(
        mechanism,
        [201] * active + [200] * (DAYS - active),
        [200] * DAYS,
        pattern="user",
        claimed_mu=squared_mu(mechanism, (np.arange(DAYS) < active).astype(float)) ** 0.5,
        runs=runs,
        confidence=0.99,
        source=HalfScaleNoise(source) if is_halved else source,
    )


class TestBound:
    def test_it_lies_below_the_truth_with_the_stated_confidence(self) -> None:
        """Over 200 games on normal scores of known mu, at most the stated share of bounds lies above the truth."""
        generator = np.random.default_rng(5)
        bounds = []
        for _ in range(200):
            absent, present = generator.normal(0, 1, 400), generator.normal(0.7, 1, 400)
            result = judge(absent, present, pattern="", claimed_mu=0.7, pattern_mu=0.7, confidence=0.9)
            bounds.append(result.observed_mu)
        assert sum(bound > 0.7 for bound in bounds) <= 20
        assert np.median(bounds) > 0.2

    def test_it_approaches_the_truth_with_more_runs(self) -> None:
        """With 20,000 runs the bound is within 15 % of mu."""
        generator = np.random.default_rng(6)
        absent, present = generator.normal(0, 1, 20_000), generator.normal(0.7, 1, 20_000)
        result = judge(absent, present, pattern="", claimed_mu=0.7, pattern_mu=0.7, confidence=0.99)
        assert 0.6 < result.observed_mu <= 0.7
        assert result.findings == []


class TestGame:
    @pytest.mark.parametrize(("name", "active"), [("gaussian", DAYS), ("correlated", DAYS), ("correlated", 17)])
    @pytest.mark.one_is_enough
    def test_true_noise_passes_and_half_of_it_does_not(self, name: str, active: int) -> None:
        """The same game finds nothing in the stated noise, and a mu above the claim in noise of half the scale."""
        mechanism = mechanism_from(name, epsilon=0.3, delta=1e-6, plan=PLAN)
        honest, halved = (game(mechanism, active, is_halved=is_halved) for is_halved in (False, True))
        assert honest.findings == []
        assert honest.pattern_mu == pytest.approx(honest.claimed_mu)
        assert halved.findings != [] and halved.observed_mu > honest.claimed_mu

    @pytest.mark.slow
    def test_joint_draws_are_games_too(self) -> None:
        """Vectors of three counts: nothing is found in the stated noise, and half of it is."""
        joint = joint_gaussian(PeriodPlan(30, 5.9, 1e-6))
        found = []
        for source in (secure_noise(), HalfScaleNoise(exact_noise(3))):
            result = run_joint_game(
                joint,
                [(51, 51, 51)] * 8 + [(50, 51, 51)] * 6,
                [(50, 50, 50)] * 14,
                pattern="user",
                claimed_mu=0.8,
                runs=600,
                confidence=0.99,
                source=source,
            )
            found.append(result.findings)
        assert found[0] == [] and found[1] != []
