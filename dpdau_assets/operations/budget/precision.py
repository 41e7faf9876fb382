"""How far the next value of a metric would err, from noise and from sampling.

Belongs here: the error in users by the settings and earlier releases. Does not belong here: the sampling threshold
itself (`sampling_threshold`), what releases cost (`plan`). Everything is public.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.intervals import NORMAL_975, error_stddevs, interval_95
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.core.release.release import ReleaseResult, sampling_of
from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.operations.budget.sampling_threshold import sampling_threshold
from dpdau_assets.operations.session.workspace import sketch_plan
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger.releases import Release

TYPICAL_USERS = 10**6
"""A number of users far above all noise, where no interval is cut at 0."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How far a published value would err; public.

    Attributes:
        noise_stddev: Standard deviation from noise, in users.
        sampling_stddev: Standard deviation from sampling, in users; None while the sampling threshold is not known.
        interval_width: Width of the 95 % interval, in users; None where it has no upper end.
        users: The public number of users at which a sampled count's error is stated; None where it does not matter.
        share: Share of users that is looked at; None while it is not known.
        is_lower_bound: Whether noise and width are the least there can be, those of a share of 1; while it is unknown.
    """

    noise_stddev: float
    sampling_stddev: float | None
    interval_width: float | None
    users: int | None
    share: float | None
    is_lower_bound: bool = False


def next_precision(
    settings: Settings,
    mechanism: Mechanism | JointGaussian,
    last: Release | None,
    *,
    metric: Metric,
    period: str,
) -> Precision:
    """How far the next value of a metric would err.

    Args:
        settings: The sketch and EXPECTED_USERS.
        mechanism: The noise.
        last: The metric's last release, or None.
        metric: `dau`, `wau` or `mau`.
        period: Calendar month `YYYY-MM`.

    Raises:
        ConfigurationError: Releases with these parameters are refused.
    """
    threshold = sampling_threshold(settings, mechanism, last, period=period)
    if isinstance(mechanism, JointGaussian):
        stddev = mechanism.noise_stddevs()[METRICS.index(metric)]
        return Precision(stddev, 0.0, 2 * NORMAL_975 * stddev, None, 1.0)
    plan = sketch_plan(settings)
    if threshold is None:
        return _least_error(mechanism, plan)
    users = settings.expected_users if last is None else max(1, round(ReleaseResult.from_json(last.result).estimate))
    sampling = sampling_of(plan.impl, threshold=threshold, sketch_k=plan.size)
    if sampling.is_exact:
        drawn, users = TYPICAL_USERS * mechanism.units_per_user, None
    elif users is None:
        return Precision(math.sqrt(mechanism.noise_variance()) / sampling.theta, None, None, None, sampling.theta)
    else:
        drawn = round(_expected_count(users, sampling.theta, sampling.buckets) * mechanism.units_per_user)
    lower, upper = interval_95(drawn, mechanism, threshold=threshold, buckets=sampling.buckets)
    sampled, noise = error_stddevs(drawn, mechanism, threshold=threshold, buckets=sampling.buckets)
    width = None if upper is None else float(upper - lower)
    return Precision(noise, sampled, width, users, threshold / KEY_SPACE)


def _least_error(mechanism: Mechanism, plan: SketchPlan) -> Precision:
    """What everybody counted would err: a sample that is still to be chosen divides the noise by its share."""
    sampling = sampling_of(plan.impl, threshold=KEY_SPACE, sketch_k=plan.size)
    drawn = TYPICAL_USERS * mechanism.units_per_user
    lower, upper = interval_95(drawn, mechanism, threshold=KEY_SPACE) if sampling.is_exact else (0.0, None)
    width = None if upper is None else float(upper - lower)
    return Precision(math.sqrt(mechanism.noise_variance()), None, width, None, None, is_lower_bound=True)


def _expected_count(users: int, theta: float, buckets: int | None) -> float:
    """The count that a number of users gives: those below the threshold, or the buckets that they hit."""
    looked_at = users * theta
    return looked_at if buckets is None else -buckets * math.expm1(-looked_at / buckets)
