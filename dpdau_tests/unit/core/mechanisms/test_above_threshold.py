"""Laws of core/mechanisms/above_threshold.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpdau_assets.core.mechanisms.above_threshold import (
    ABOVE_THRESHOLD_EVENT,
    KEY_SPACE,
    NOISE_SCALE,
    find_first_threshold,
)
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.core.probability.distributions import discrete_laplace_pmf
from dpdau_assets.errors import ConfigurationError

K = 4096


class ScriptedNoise:
    """A source that returns given noises in turn and records how often it was asked."""

    name = "scripted"
    is_private = False

    def __init__(self, *noises: int) -> None:
        self.noises = list(noises)
        self.scales: list[float] = []

    def discrete_laplace(self, scale: float) -> int:
        self.scales.append(scale)
        return self.noises.pop(0) if self.noises else 0

    def discrete_gaussian(self, stddev: float) -> int:
        raise AssertionError(f"AboveThreshold draws Laplace noise only, not Gaussian of stddev {stddev}")


def outcome_probabilities(counts: np.ndarray, *, half: int, scale: float) -> np.ndarray:
    """Exact law of the level that says yes first (last entry: none), by summing over the noisy threshold."""
    smallest, noise = discrete_laplace_pmf(scale)
    cumulative = np.concatenate([[0.0], np.cumsum(noise)])
    noisy_half = half + smallest + np.arange(len(noise))
    # Pr[count + noise < t] for every level and every noisy threshold t
    below = cumulative[np.clip(noisy_half[None, :] - counts[:, None] - smallest, 0, len(noise))]
    survived = np.vstack([np.ones(len(noise)), np.cumprod(below, axis=0)])
    return np.append(((survived[:-1] - survived[1:]) * noise).sum(axis=1), (survived[-1] * noise).sum())


def largest_loss(scale: float) -> float:
    losses = []
    # the second profile is a sketch about to be capped: its last levels are full and do not grow with the others
    for counts in (np.array([0, 3, 20, 40, 90, 170, 199]), np.array([199] * 30 + [200])):
        for start in range(len(counts)):  # a key enters its smallest level and every level above
            neighbour = np.minimum(200, counts + (np.arange(len(counts)) >= start))
            one, other = (outcome_probabilities(levels, half=100, scale=scale) for levels in (counts, neighbour))
            losses.append(np.abs(np.log(one / other)).max())
    return float(max(losses))


class TestPrivacy:
    def test_costs_at_most_its_event(self) -> None:
        """Over neighbours, no outcome's exact probability changes by more than e^0.05."""
        assert 0.03 < largest_loss(NOISE_SCALE) <= ABOVE_THRESHOLD_EVENT.epsilon == 0.05

    def test_half_the_noise_costs_more(self) -> None:
        """The same computation rejects noise of half the scale."""
        assert largest_loss(NOISE_SCALE / 2) > ABOVE_THRESHOLD_EVENT.epsilon

    def test_every_comparison_has_fresh_noise(self) -> None:
        """One noise of scale 40 goes to the threshold and one to each level looked at, then no more."""
        source = ScriptedNoise()
        outcome = find_first_threshold(lambda threshold: 5000 * threshold // KEY_SPACE, source, k=K)
        assert source.scales == [40.0] * (1 + 63 - outcome.level + 1)


class TestOutcome:
    def test_stops_at_the_first_yes(self) -> None:
        """The smallest level with at least half a sketch is taken: between k/2 and k keys are kept."""
        for users in (10_000, 1_000_000, 30_000_000_000):
            outcome = find_first_threshold(lambda t, users=users: users * t // KEY_SPACE, ScriptedNoise(), k=K)
            assert K / 2 - 1 <= users * outcome.threshold / KEY_SPACE <= K
            assert outcome.threshold == KEY_SPACE >> outcome.level

    @pytest.mark.parametrize("users", [0, 100, 2000])
    def test_keeps_everything_when_no_level_says_yes(self, users: int) -> None:
        """A metric that never fills half a sketch is counted without sampling."""
        outcome = find_first_threshold(lambda t: users * t // KEY_SPACE, ScriptedNoise(), k=K)
        assert outcome.to_json() == {"threshold": KEY_SPACE, "level": 0}

    def test_reads_counts_capped_at_k(self) -> None:
        """A count above k is taken as k, whatever the union could answer."""
        source = ScriptedNoise(K // 2 + 1)
        assert find_first_threshold(lambda _: 10**9, source, k=K).threshold == KEY_SPACE
        assert len(source.scales) == 65

    def test_noise_does_not_take_an_empty_level(self) -> None:
        """In 100 seeded runs the level is within one of the ideal one."""
        source = SeededNoise(b"above-threshold-test")
        ideal = round(math.log2(200_000 / K)) + 1
        levels = {find_first_threshold(lambda t: 200_000 * t // KEY_SPACE, source, k=K).level for _ in range(100)}
        assert levels <= {ideal - 1, ideal, ideal + 1}

    def test_needs_a_large_sketch(self) -> None:
        """Below k = 4096 the run is refused before any noise is drawn, with what to set instead."""
        source = ScriptedNoise()
        with pytest.raises(ConfigurationError) as refused:
            find_first_threshold(lambda _: 0, source, k=4095)
        assert "EXPECTED_USERS" in refused.value.hint
        assert source.scales == []
