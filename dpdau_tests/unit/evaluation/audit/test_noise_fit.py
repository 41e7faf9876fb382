"""The tests of noise: true noise passes them, each fault fails the one that is made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from dpdau_assets.core.mechanisms.distributions import discrete_gaussian_pmf
from dpdau_assets.evaluation.audit.noise_fit import FreshNoise, NoiseFit, judge_noise
from dpdau_assets.evaluation.audit.sources import exact_noise

STDDEV, OFFSET_STDDEV = 18.0, 7.5
PMF = discrete_gaussian_pmf(STDDEV)
Noise = npt.NDArray[np.int64]


def fit(change: Callable[[Noise, int], Noise] = lambda noise, _offset: noise, *, accounts: int = 12) -> NoiseFit:
    source = exact_noise(4)
    parts = []
    for _ in range(accounts):
        offset = source.discrete_gaussian(OFFSET_STDDEV)
        noise = np.array([source.discrete_gaussian(STDDEV) for _ in range(30)], dtype=np.int64)
        parts.append(FreshNoise(change(noise, offset), PMF, STDDEV, offset, OFFSET_STDDEV))
    return judge_noise(parts, mechanism="correlated", level=1e-5, seed=1)


class TestNoiseFit:
    def test_true_noise_passes(self) -> None:
        """Noise of the stated law, independent between days and of its offset, is as stated."""
        found = fit()
        assert found.findings == []
        assert sum(found.histogram) == found.draws == 360
        assert found.spread == pytest.approx(1, abs=0.15)

    @pytest.mark.parametrize("factor", [0.5, 1.6])
    def test_another_scale_fails_the_law(self, factor: float) -> None:
        """Noise of another scale fills the bins of equal chance unevenly."""
        found = fit(lambda noise, _offset: np.rint(noise * factor).astype(np.int64))
        assert found.law < found.level

    def test_a_missing_offset_shows(self) -> None:
        """Where the offset was not added, taking it away leaves fresh noise that depends on it."""
        found = fit(lambda noise, offset: noise - offset, accounts=24)
        assert found.offsets is not None and found.offsets < found.level

    def test_noise_used_on_two_days_shows(self) -> None:
        """Days that share a draw are correlated with their neighbours."""
        found = fit(lambda noise, _offset: np.repeat(noise[::2], 2))
        assert found.neighbours < found.level

    def test_no_noise_is_a_finding(self) -> None:
        """A test of nothing does not pass."""
        assert judge_noise([], mechanism="gaussian", level=1e-5, seed=1).findings != []

    def test_a_second_draw_is_a_finding(self) -> None:
        """Whatever the law, a value that was drawn again fails."""
        part = FreshNoise(np.arange(-30, 30, dtype=np.int64), PMF, STDDEV, 0, 0.0)
        assert judge_noise([part], mechanism="gaussian", level=1e-5, seed=1, repeats=1).repeats == 1
        assert any("drawn again" in finding for finding in replace(fit(), repeats=1).findings)
