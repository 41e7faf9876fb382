"""The tables of error: how far values, differences and averages lie from the truth, with and without sampling.

Everything is in users, for exact counts unless a table says otherwise. Belongs here: exact tables about error. Does not
belong here: loss (`losses`), simulation (`simulation`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.intervals import NORMAL_975, PROBABILITY, error_stddevs
from dpdau_assets.core.mechanisms.joint_shape import Matrix
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.probability.distributions import discrete_gaussian_variance
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.core.release.release import threshold_for
from dpdau_assets.core.sketches.plan import sampling_threshold
from dpdau_assets.core.sketches.sampling import Sampling
from dpdau_assets.evaluation.privacy_tables.document import Table
from dpdau_assets.evaluation.privacy_tables.scenarios import (
    DEFAULTS,
    DELTA,
    MECHANISMS,
    MONTH,
    RESERVE,
    joint_cap,
    joint_noise,
    metric_noise,
)

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Users of a window."""


@dataclass(frozen=True, slots=True)
class Split:
    """The two parts of one metric's noise, as standard deviations in users.

    Attributes:
        fresh: Drawn for each release.
        shared: Drawn once a month; 0 without an offset.
    """

    fresh: float
    shared: float

    @property
    def value(self) -> float:
        """Of one value."""
        return math.hypot(self.fresh, self.shared)

    @property
    def within(self) -> float:
        """Of the difference of two days of one month: the offset cancels."""
        return math.sqrt(2) * self.fresh

    @property
    def between(self) -> float:
        """Of the difference of two days of two months."""
        return math.sqrt(2) * self.value

    def average(self, days: int) -> float:
        """Of the average of some days of one month."""
        return math.hypot(self.fresh / math.sqrt(days), self.shared)


@lru_cache(maxsize=64)
def split_of(name: str, metric: Metric) -> Split:
    """The noise of a metric in a month of 31 days."""
    if name == "joint":
        return _joint_split(joint_noise().shape.inverse()[METRICS.index(metric)])
    single = metric_noise(name, metric)
    if isinstance(single, CorrelatedGaussian):
        parts = map(discrete_gaussian_variance, (single.release_stddev, single.shared_stddev))
        fresh_stddev, shared_stddev = (math.sqrt(part) / single.units_per_user for part in parts)
        return Split(fresh_stddev, shared_stddev)
    return Split(math.sqrt(single.noise_variance()), 0.0)


def reach_of(name: str, metric: Metric) -> float:
    """Half the width of a 95 % interval, before it is cut to whole users."""
    if name == "joint":
        return NORMAL_975 * split_of(name, metric).value
    noise = metric_noise(name, metric)
    return noise.noise_quantile(PROBABILITY) / noise.units_per_user


def noises() -> Table:
    """Standard deviation and interval of one value."""
    rows = []
    for name in MECHANISMS:
        cells = [(f"{split_of(name, metric).value:.2f}", f"± {reach_of(name, metric):.1f}") for metric in METRICS]
        rows.append((f"`{name}`", *(cell for pair in cells for cell in pair)))
    head = ("mechanism", *(cell for metric in METRICS for cell in (f"{metric.upper()} error", "95 % interval")))
    return Table(head, tuple(rows))


def calibrations() -> Table:
    """How the noise of a month is chosen: the parameters that accounts freeze."""
    releases, rows = MONTH + RESERVE, []
    for metric in METRICS:
        noise = metric_noise("correlated", metric)
        assert isinstance(noise, CorrelatedGaussian)
        plan = PeriodPlan(releases, DEFAULTS.cap_of(metric), DELTA)
        continuous = math.sqrt(1 + math.sqrt(releases)) / plan.mu
        rows.append((f"`correlated`, {metric.upper()}", plan, noise.release_stddev, noise.shared_stddev, continuous))
    joint, plan = joint_noise(), PeriodPlan(releases, joint_cap(), DELTA)
    inverse = joint.shape.inverse()
    a = math.sqrt(releases * joint.shape.squared_radius * float((inverse**2).sum()))
    b = float(np.linalg.norm(inverse @ np.array(joint.shape.centre)))
    rows.append(("`joint`", plan, joint.release_stddev, joint.shared_stddev, math.sqrt((a + b) / b) / plan.mu))
    shown = tuple(
        (
            label,
            f"{plan.epsilon_cap:.1f}",
            f"{plan.mu:.4f}",
            str(releases),
            f"{sg:.3f}",
            f"{sh:.3f}",
            f"{sh / least:.4f}",
        )
        for label, plan, sg, sh, least in rows
    )
    return Table(("noise", "cap", "mu", "T", "sg", "sh", "f"), shown)


def differences_of_days() -> Table:
    """What two days, and two months, may differ by through noise alone."""
    rows = []
    for name in ("gaussian", "correlated", "joint"):
        for metric in METRICS:
            split = split_of(name, metric)
            average = split.average(MONTH)
            found = (split.fresh, split.shared, split.within, split.between, average, math.sqrt(2) * average)
            rows.append((f"`{name}`, {metric.upper()}", *(f"{part:.2f}" for part in found)))
    head = (
        "standard deviations, in users",
        "fresh part f",
        "shared part s",
        "two days of one month",
        "two days of two months",
        "average of 31 days",
        "averages of two months",
    )
    return Table(head, tuple(rows))


def samplings() -> dict[str, tuple[str, int]]:
    """The sketches of the table: label, implementation and size."""
    size = DEFAULTS.sketch_k
    return {
        "`kmv`, `SKETCH_K=4096`": ("kmv", 4096),
        f"`kmv`, `SKETCH_K={size}`": ("kmv", size),
        f"`theta`, `SKETCH_K={size}`": ("theta", size),
        f"`hll`, `SKETCH_K={size}`": ("hll", size),
    }


def sampling_of_size(impl: str, k: int, users: int) -> Sampling:
    """How a sketch counts a window whose size was stated by EXPECTED_USERS, or known from an earlier release."""
    if impl == "theta":
        return Sampling(sampling_threshold(k, expected_users=users))
    return Sampling(threshold_for(users, k=k, impl=impl), k if impl == "hll" else None)


def expected_count(sampling: Sampling, users: int) -> float:
    """What a sketch counts of a window on average."""
    if sampling.buckets is None:
        return users * sampling.theta
    return sampling.buckets * -math.expm1(-users * sampling.theta / sampling.buckets)


def sketch_errors() -> Table:
    """Both errors of a DAU under `correlated` noise, and the interval, as shares of the users."""
    noise = metric_noise("correlated", "dau")
    exact = [f"0 + {_two_digits(100 * split_of('correlated', 'dau').value / users)} %" for users in SIZES]
    rows = [("`set`", *exact)]
    for label, (impl, k) in samplings().items():
        cells = []
        for users in SIZES:
            sampling = sampling_of_size(impl, k, users)
            drawn = round(noise.units_per_user * expected_count(sampling, users))
            parts = error_stddevs(drawn, noise, threshold=sampling.threshold, buckets=sampling.buckets)
            cells.append(" + ".join(_two_digits(100 * part / users) for part in parts) + " %")
        rows.append((label, *cells))
    return Table(("sampling + noise", *(f"{users:,} users" for users in SIZES)), tuple(rows))


def _two_digits(value: float) -> str:
    """Two digits that count, never in scientific notation."""
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}" if value else "0"


def orders_of_metrics() -> Table:
    """How much larger WAU must be than DAU, and MAU than WAU, for noise to hide the order in 1 of 40 days."""
    rows = []
    for name in MECHANISMS:
        gaps = []
        for small, large in pairwise(METRICS):
            gaps.append(NORMAL_975 * _gap_stddev(name, small, large))
        rows.append((f"`{name}`", *(f"{gap:.1f}" for gap in gaps)))
    return Table(("mechanism", "DAU and WAU", "WAU and MAU"), tuple(rows))


def _gap_stddev(name: str, small: Metric, large: Metric) -> float:
    """Standard deviation of the noise of one metric minus another's, of one day."""
    if name != "joint":
        return math.hypot(split_of(name, small).value, split_of(name, large).value)
    inverse = joint_noise().shape.inverse()
    return _joint_split(inverse[METRICS.index(large)] - inverse[METRICS.index(small)]).value


def _joint_split(row: Matrix) -> Split:
    """The noise of a linear combination of one day's joint draws: float64[3] of weights."""
    noise = joint_noise()
    fresh = discrete_gaussian_variance(noise.release_stddev) * float((row**2).sum())
    along = float(row @ np.array(noise.shape.centre))
    return Split(math.sqrt(fresh), abs(along) * math.sqrt(discrete_gaussian_variance(noise.shared_stddev)))
