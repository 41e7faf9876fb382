"""The tests of noise: true noise passes them, each fault fails the one that is made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from dpdau_assets.core.probability.distributions import discrete_gaussian_pmf
from dpdau_assets.evaluation.audit.noise_fit import FreshNoise, NoiseFit, judge_noise
from dpdau_assets.evaluation.audit.sources import exact_noise

STDDEV, SHARED_STDDEV = 18.0, 7.5
PMF = discrete_gaussian_pmf(STDDEV)
Noise = npt.NDArray[np.int64]


def fit(
    change: Callable[[Noise, int], Noise] = lambda noise, _shared_noise: noise,
    *,
    accounts: int = 12,
    stated_shared_stddev: float = SHARED_STDDEV,
) -> NoiseFit:
    source = exact_noise(4)
    parts, shared_noises = [], []
    for _ in range(accounts):
        shared_noise = source.discrete_gaussian(SHARED_STDDEV)
        noise = np.array([source.discrete_gaussian(STDDEV) for _ in range(30)], dtype=np.int64)
        parts.append(FreshNoise(change(noise, shared_noise), PMF, STDDEV, shared_noise, SHARED_STDDEV))
        shared_noises.append((shared_noise, stated_shared_stddev))
    return judge_noise(parts, shared_noises, mechanism="correlated", level=1e-5, seed=1)


class TestNoiseFit:
    def test_true_noise_passes(self) -> None:
        """Noise of the stated law, independent between days and of its offset, is as stated."""
        found = fit()
        assert found.findings == []
        assert sum(found.histogram) == found.draws == 360
        assert found.spread == pytest.approx(1, abs=0.15)

    @pytest.mark.parametrize("factor", [0.5, 1.6])
    def test_another_scale_fails_the_law(self, factor: float) -> None:
        """Noise of another scale fills the bins of equal chance unevenly, and has another second moment."""
        found = fit(lambda noise, _shared_noise: np.rint(noise * factor).astype(np.int64))
        assert found.law < found.level
        assert found.scale < found.level

    @pytest.mark.parametrize("factor", [0.83, 1.2])
    def test_the_second_moment_sees_a_wrong_scale_sooner(self, factor: float) -> None:
        """A scale wrong by a fifth, either way, shows in 720 draws, and far more clearly than in the bins."""
        found = fit(lambda noise, _shared_noise: np.rint(noise * factor).astype(np.int64), accounts=24)
        assert found.scale < min(found.level, found.law / 100)

    @pytest.mark.parametrize("factor", [0.5, 2.0])
    def test_shared_noise_of_another_scale_shows(self, factor: float) -> None:
        """Sixty offsets of half or twice their stated scale are seen; as stated they pass, however few."""
        found = fit(accounts=60, stated_shared_stddev=SHARED_STDDEV / factor)
        assert found.offset_scale is not None and found.offset_scale < found.level
        assert len(found.findings) == 1
        for accounts in (1, 2, 3, 60):
            assert fit(accounts=accounts).findings == []

    def test_few_draws_give_no_false_alarm(self) -> None:
        """Three offsets of 0 are ordinary where the scale is 4: ties are broken within the law."""
        part = FreshNoise(np.zeros(1, dtype=np.int64), PMF, STDDEV, 0, 4.0)
        chances = [
            judge_noise([part], [(0, 4.0)] * 3, mechanism="correlated", level=1e-6, seed=seed).offset_scale
            for seed in range(50)
        ]
        assert all(chance is not None and chance > 1e-6 for chance in chances)

    def test_a_missing_shared_noise_shows(self) -> None:
        """Where the offset was not added, taking it away leaves fresh noise that depends on it."""
        found = fit(lambda noise, shared_noise: noise - shared_noise, accounts=24)
        assert found.offsets is not None and found.offsets < found.level

    def test_noise_used_on_two_days_shows(self) -> None:
        """Days that share a draw are correlated with their neighbours."""
        found = fit(lambda noise, _shared_noise: np.repeat(noise[::2], 2))
        assert found.neighbours < found.level

    def test_no_noise_is_a_finding(self) -> None:
        """A test of nothing does not pass."""
        assert judge_noise([], mechanism="gaussian", level=1e-5, seed=1).findings != []

    def test_a_second_draw_is_a_finding(self) -> None:
        """Whatever the law, a value that was drawn again fails."""
        part = FreshNoise(np.arange(-30, 30, dtype=np.int64), PMF, STDDEV, 0, 0.0)
        assert judge_noise([part], mechanism="gaussian", level=1e-5, seed=1, repeats=1).repeats == 1
        assert any("drawn again" in finding for finding in replace(fit(), repeats=1).findings)
