"""Independent noise in released values is the stated noise: over 2,000 secure draws through the whole release path.

Standardised noise is (drawn - true count) / stated sd, over three metrics. With n = 2,100 draws the mean of true noise
lies within 4 standard errors except with probability 6e-5. The sd's standard error is 1 / sqrt(2 n) = 1.5 %, so true
noise leaves the 7 % band with probability 6e-6 and noise of scale 0.8 stays in it with probability below 1e-15.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.quantities import METRICS, DayRange, window_days
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import add_activity, open_folder

FIRST = date(2022, 1, 1)
DAYS = 700
USERS = 40


def true_counts() -> dict[tuple[str, date], int]:
    """User number u is active on every day that u + 2 divides; counted here without the system under test."""
    last_seen: dict[int, int] = {}
    counts = {}
    for offset in range(DAYS):
        last_seen |= {user: offset for user in range(USERS) if offset % (user + 2) == 0}
        for metric in METRICS:
            oldest = offset - window_days(metric, 30) + 1
            counts[metric, FIRST + timedelta(days=offset)] = sum(seen >= oldest for seen in last_seen.values())
    return counts


def released_noise(folder: Path) -> npt.NDArray[np.float64]:
    """Standardised noise of 2,100 releases: float64[2100], by metric and day."""
    workspace = open_folder(folder, series_start=FIRST, mechanism="gaussian")
    active = {
        FIRST + timedelta(days=offset): [f"user-{user}" for user in range(USERS) if offset % (user + 2) == 0]
        for offset in range(DAYS)
    }
    add_activity(workspace, active)
    days, counts = DayRange(FIRST, FIRST + timedelta(days=DAYS - 1)), true_counts()
    published = publish_releases(workspace, METRICS, days)
    assert (len(published.results), published.refused) == (3 * DAYS, ())
    settings = workspace.settings
    stated = {
        metric: math.sqrt(
            mechanism_from("gaussian", epsilon=settings.epsilon_of(metric), delta=settings.delta).noise_variance()
        )
        for metric in METRICS
    }
    return np.array(
        [
            (result.drawn - counts[result.metric, result.day]) / stated[result.metric]
            for metric in METRICS
            for result in published.results
            if result.metric == metric
        ]
    )


def has_stated_law(noise: npt.NDArray[np.float64]) -> bool:
    """Mean within 4 standard errors of 0 and sd within 7 % of 1."""
    is_centred = abs(noise.mean()) <= 4 / math.sqrt(len(noise))
    return bool(is_centred and abs(noise.std() - 1) <= 0.07)


def is_independent(noise: npt.NDArray[np.float64]) -> bool:
    """The correlation of neighbouring entries lies within 4.5 standard errors of 0 (missed with probability 7e-6)."""
    products = noise[1:] * noise[:-1]
    return bool(abs(products.mean()) <= 4.5 / math.sqrt(products.size))


class TestReleasedNoise:
    def test_it_is_as_stated_and_the_check_would_see_otherwise(self, tmp_path: Path) -> None:
        """2,100 draws have the stated mean, deviation and independence; wrong scales, shifts and reuse are rejected."""
        noise = released_noise(tmp_path)
        assert len(noise) >= 2000
        assert has_stated_law(noise)
        assert is_independent(noise)
        across_metrics = noise.reshape(3, DAYS).T.ravel()
        assert is_independent(across_metrics)
        assert not has_stated_law(0.8 * noise)
        assert not has_stated_law(1.25 * noise)
        assert not has_stated_law(noise + 0.2)
        assert not is_independent(np.repeat(noise[::2], 2))
