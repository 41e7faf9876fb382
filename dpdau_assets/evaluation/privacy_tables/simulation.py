"""Theory beside simulated months: the noise of releases, drawn by the sampler of releases, in months of 31 days.

Belongs here: drawing, scoring, and the tables that set what was found beside what was stated. Does not belong here: any
statement that is only computed (`losses`, `errors`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.core.release.release import estimate_of
from dpdau_assets.core.sketches.sampling import Sampling
from dpdau_assets.evaluation.audit.sources import secure_noise
from dpdau_assets.evaluation.privacy_tables.document import Table
from dpdau_assets.evaluation.privacy_tables.errors import (
    Split,
    expected_count,
    reach_of,
    sampling_of_size,
    samplings,
    split_of,
)
from dpdau_assets.evaluation.privacy_tables.scenarios import (
    MECHANISMS,
    MONTH,
    joint_noise,
    metric_noise,
)

MONTHS = 2000
TRUTH = 5000
"""Users of every day; no figure depends on it."""
SKETCHED_USERS = 1_000_000
COMPARED = (("gaussian", "dau"), ("correlated", "dau"), ("correlated", "mau"), ("joint", "dau"), ("joint", "mau"))
"""Mechanisms and metrics whose differences and averages are simulated as well."""
HEAD = ("theory", "simulated", "standard error")

Numbers: TypeAlias = npt.NDArray[np.float64]
Units: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Simulation:
    """Simulated months of every mechanism.

    Attributes:
        months: How many of each.
        source: Where the noise comes from; None for the sampler of releases.
    """

    months: int = MONTHS
    source: NoiseSource | None = None

    @cached_property
    def noise(self) -> NoiseSource:
        """The source in use: the sampler of releases, in its vector form, unless another was given."""
        return self.source or secure_noise()

    @cached_property
    def draws(self) -> dict[tuple[str, Metric], Units]:
        """The noise of each metric in units of draws, int64[months, days]; joint noise apart."""
        return {
            (name, metric): self._single(name, metric) for name in MECHANISMS if name != "joint" for metric in METRICS
        }

    @cached_property
    def vectors(self) -> Units:
        """The noise of joint draws: int64[months, days, 3]."""
        noise = joint_noise()
        fresh = self._gaussians(noise.release_stddev, (self.months, MONTH, len(METRICS)))
        shared = self._gaussians(noise.shared_stddev, (self.months, 1, 1))
        return np.asarray(fresh + shared * np.array(noise.shape.centre), dtype=np.int64)

    def errors(self, name: str, metric: Metric) -> Numbers:
        """The noise of a metric in users: float64[months, days]."""
        if name == "joint":
            return np.asarray(self.vectors @ joint_noise().shape.inverse()[METRICS.index(metric)], dtype=np.float64)
        return self.draws[name, metric] / metric_noise(name, metric).units_per_user

    def _single(self, name: str, metric: Metric) -> Units:
        noise, shape = metric_noise(name, metric), (self.months, MONTH)
        if isinstance(noise, CorrelatedGaussian):
            shared = self._gaussians(noise.shared_stddev, (self.months, 1))
            return self._gaussians(noise.release_stddev, shape) + shared
        return _filled(lambda: noise.draw(0, self.noise), shape)

    def _gaussians(self, stddev: float, shape: tuple[int, ...]) -> Units:
        return _filled(lambda: self.noise.discrete_gaussian(stddev), shape)

    def error_table(self) -> Table:
        """Errors of values, differences and averages, and coverage of the intervals."""
        rows = []
        for name in MECHANISMS:
            for metric in METRICS:
                label, found, split = f"`{name}`, {metric.upper()}", self.errors(name, metric), split_of(name, metric)
                cases = _error_rows(found, split)
                rows += [(label, *row) for row in (cases if (name, metric) in COMPARED else cases[:1])]
                rows.append((label, "95 % interval holds the truth", *self._coverage(name, metric)))
        return Table(("mechanism", "of", *HEAD), tuple(rows), is_simulated=True)

    def _coverage(self, name: str, metric: Metric) -> tuple[str, ...]:
        if name == "joint":
            held, theory = np.abs(self.errors(name, metric)) <= reach_of(name, metric), 0.95
        else:
            noise, drawn = metric_noise(name, metric), self.draws[name, metric]
            units = noise.units_per_user
            answers = {
                int(value): _holds(interval_95(units * TRUTH + int(value), noise), TRUTH) for value in np.unique(drawn)
            }
            held = np.vectorize(answers.__getitem__, otypes=[np.bool_])(drawn)
            smallest, chances = noise.noise_pmf()
            reach = round(units * reach_of(name, metric))
            theory = float(chances[-reach - smallest : reach - smallest + 1].sum())
        return shares_row(theory, held.mean(axis=1))

    def sketch_table(self) -> Table:
        """Error and coverage of sampled counts of a million users under correlated noise."""
        noise, generator = metric_noise("correlated", "dau"), np.random.default_rng()
        drawn = self.draws["correlated", "dau"].reshape(-1)[: self.months]
        rows = []
        for label, (impl, k) in samplings().items():
            sampling = sampling_of_size(impl, k, SKETCHED_USERS)
            counts = _sketched(sampling, k if impl == "kmv" else None, self.months, generator)
            noisy = noise.units_per_user * counts + drawn
            held = [_holds(_interval(noise, int(value), sampling), SKETCHED_USERS) for value in noisy]
            estimates = np.array([_estimate(noise, int(value), sampling) for value in noisy])
            centre = round(noise.units_per_user * expected_count(sampling, SKETCHED_USERS))
            parts = error_stddevs(centre, noise, threshold=sampling.threshold, buckets=sampling.buckets)
            theory = math.hypot(*parts) / SKETCHED_USERS
            squares = (estimates / SKETCHED_USERS - 1) ** 2
            error, spread = _root(squares)
            rows.append((label, "error", *(f"{100 * value:.3f} %" for value in (theory, error, spread))))
            rows.append((label, "95 % interval holds the truth", *shares_row(0.95, np.array(held))))
        return Table(("1,000,000 users", "of", *HEAD), tuple(rows), is_simulated=True)


def _filled(draw: Callable[[], int], shape: tuple[int, ...]) -> Units:
    return np.fromiter((draw() for _ in range(math.prod(shape))), dtype=np.int64).reshape(shape)


def _holds(interval: tuple[int, int | None], truth: int) -> bool:
    lower, upper = interval
    return lower <= truth and (upper is None or truth <= upper)


def _interval(noise: Mechanism, drawn: int, sampling: Sampling) -> tuple[int, int | None]:
    return interval_95(drawn, noise, threshold=sampling.threshold, buckets=sampling.buckets)


def _estimate(noise: Mechanism, drawn: int, sampling: Sampling) -> float:
    units = noise.units_per_user
    return estimate_of(drawn, threshold=sampling.threshold, buckets=sampling.buckets, units_per_user=units)


def _error_rows(errors: Numbers, split: Split) -> list[tuple[str, ...]]:
    """One value, two days of a month, two days of two months, the average of a month: theory and what was found."""
    pairs = errors[:, 0:-1:2] - errors[:, 1::2]
    halves = len(errors) // 2
    apart = errors[:halves] - errors[halves : 2 * halves]
    cases = [
        ("one value", split.value, errors),
        ("two days of one month", split.within, pairs),
        ("two days of two months", split.between, apart),
        ("average of 31 days", split.average(MONTH), errors.mean(axis=1, keepdims=True)),
    ]
    found: list[tuple[str, ...]] = []
    for label, theory, values in cases:
        simulated, spread = _root((values**2).mean(axis=1))
        found.append((label, f"{theory:.2f}", f"{simulated:.2f}", f"{spread:.3f}"))
    return found


def _root(squares: Numbers) -> tuple[float, float]:
    """Root of the mean of independent squares, with its standard error."""
    root = math.sqrt(float(squares.mean()))
    return root, float(squares.std(ddof=1)) / math.sqrt(len(squares)) / (2 * root)


def shares_row(theory: float, held: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> tuple[str, str, str]:
    """Theory, mean and standard error of independent shares, in percent."""
    values = held.astype(np.float64)
    spread = float(values.std(ddof=1)) / math.sqrt(len(values))
    return f"{100 * theory:.1f} %", f"{100 * float(values.mean()):.1f} %", f"{100 * spread:.2f} %"


def _sketched(sampling: Sampling, capacity: int | None, months: int, generator: np.random.Generator) -> Units:
    """What a sketch counts of random sets of a million users."""
    kept = generator.binomial(SKETCHED_USERS, sampling.theta, size=months)
    if sampling.buckets is not None:
        buckets = sampling.buckets
        hit = [np.count_nonzero(np.bincount(generator.integers(0, buckets, number))) for number in kept]
        return np.array(hit, dtype=np.int64)
    return np.minimum(kept, capacity or SKETCHED_USERS).astype(np.int64)
