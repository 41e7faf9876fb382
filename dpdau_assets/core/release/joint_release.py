"""From one joint draw to three published values.

Belongs here: post-processing of a joint draw, which may use the draw and public parameters and nothing else. Does not
belong here: counting, drawing, charging; single metrics (`release`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.intervals import NORMAL_975
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.core.sketches.protocol import KEY_SPACE

DECIMALS = 1
SHORTEST_REACH = 0.5
"""A shorter interval could lie between two whole numbers of users."""


def make_joint_results(
    drawn: tuple[int, int, int],
    mechanism: JointGaussian,
    *,
    source: NoiseSource,
    day: date,
    window_days: Mapping[Metric, int],
    days_in_window: Mapping[Metric, int],
    revision: int = 0,
) -> dict[Metric, ReleaseResult]:
    """The three published values that follow from one draw. Everything taken and returned is public.

    Each 95 % interval holds the integers from 0 on within 1.96 standard deviations of the estimate. WAU below DAU, or
    MAU below WAU, can occur: each value is unbiased by itself, and none is changed to fit another.

    Args:
        drawn: b, as drawn.
        mechanism: What drew it.
        source: Where its randomness came from.
        day: The released day.
        window_days: Length of each window.
        days_in_window: Days of each window on or after the first day of data, by the calendar.
        revision: 0 for the first values of the day.
    """
    values = zip(METRICS, drawn, mechanism.decode(drawn), mechanism.noise_stddevs(), strict=True)
    return {
        metric: ReleaseResult(
            metric=metric,
            day=day,
            window_days=window_days[metric],
            window_complete=days_in_window[metric] >= window_days[metric],
            days_in_window=days_in_window[metric],
            revision=revision,
            drawn=own,
            threshold=KEY_SPACE,
            sketch_k=None,
            estimate=_shown(decoded),
            lower_95=max(0, math.ceil(decoded - _reach(stddev))),
            upper_95=max(0, math.floor(decoded + _reach(stddev))),
            is_lower_bound=False,
            sampling_stddev=0.0,
            noise_stddev=stddev,
            epsilon_used=mechanism.epsilon if source.is_private else None,
            delta=mechanism.delta,
            mechanism=mechanism.name,
            sketch_impl="set",
            noise_source=source.name,
            private=source.is_private,
            vector=drawn,
        )
        for metric, own, decoded, stddev in values
    }


def _shown(decoded: float) -> float:
    """Returns the value to one decimal, never below 0; an integral value as an integer."""
    rounded = round(max(0.0, decoded), DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def _reach(stddev: float) -> float:
    return max(SHORTEST_REACH, NORMAL_975 * stddev)
