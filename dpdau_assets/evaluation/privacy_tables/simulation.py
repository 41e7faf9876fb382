"""Theory beside simulated months: the noise of releases, drawn by the sampler of releases, in months of 31 days.

Belongs here: drawing, scoring, and the tables that set what was found beside what was stated. Does not belong here: any
statement that is only computed (`losses`, `errors`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.accounting.attacker import NORMAL, gaussian_true_positives, true_positive_bound
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.mechanisms.intervals import error_stddevs, interval_95
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.core.release import estimate_of
from dpdau_assets.core.sampling import Sampling
from dpdau_assets.evaluation.audit.claims import worst_pattern_days
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
    RESERVE,
    joint_noise,
    metric_noise,
    month_of,
    month_of_all,
)

MONTHS = 2000
TRUTH = 5000
"""Users of every day; no figure depends on it."""
SKETCHED_USERS = 1_000_000
FALSE_POSITIVES = 0.01
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
        offsets = self._gaussians(noise.offset_stddev, (self.months, 1, 1))
        return np.asarray(fresh + offsets * np.array(noise.shape.centre), dtype=np.int64)

    def errors(self, name: str, metric: Metric) -> Numbers:
        """The noise of a metric in users: float64[months, days]."""
        if name == "joint":
            return np.asarray(self.vectors @ joint_noise().shape.inverse()[METRICS.index(metric)], dtype=np.float64)
        return self.draws[name, metric] / metric_noise(name, metric).units_per_user

    def _single(self, name: str, metric: Metric) -> Units:
        noise, shape = metric_noise(name, metric), (self.months, MONTH)
        if isinstance(noise, CorrelatedGaussian):
            shared = self._gaussians(noise.offset_stddev, (self.months, 1))
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
        return _shares(theory, held.mean(axis=1))

    def attacker_table(self) -> Table:
        """How often a person who is there is recognised by the best linear score, beside the guarantee's bound."""
        worst = worst_pattern_days(_correlated("dau"), MONTH)
        ones, some = np.ones(MONTH), (np.arange(MONTH) < worst).astype(np.float64)
        cases: list[tuple[str, list[tuple[str, Numbers]], EventCounts]] = [
            ("`gaussian`, DAU, there every day", [("dau", ones)], month_of("gaussian", "dau")),
            ("`correlated`, DAU, there every day", [("dau", ones)], _planned("dau")),
            (f"`correlated`, DAU, there on {worst} days, told best", [("dau", some)], _planned("dau")),
            (
                f"`correlated`, all three, counted on {worst} days of each, told best",
                [(metric, some) for metric in METRICS],
                month_of_all("correlated", revisions=RESERVE),
            ),
        ]
        rows = [row for label, moved, events in cases for row in self._attack(label, moved, events)]
        rows += self._joint_attack("`joint`, all three, there every day", month_of_all("joint", revisions=RESERVE))
        return Table(("a month", "bound of the guarantee", "of", *HEAD), tuple(rows), is_simulated=True)

    def _attack(self, label: str, moved: Sequence[tuple[str, Numbers]], events: EventCounts) -> list[tuple[str, ...]]:
        name, scores, squared_mu = label.split("`")[1], np.zeros(self.months), 0.0
        for metric in METRICS:
            for pattern in (pattern for other, pattern in moved if other == metric):
                split = split_of(name, metric)
                covariance = split.fresh**2 * np.eye(MONTH) + split.shared**2
                weights = np.linalg.solve(covariance, pattern)
                scores += self.errors(name, metric) @ weights
                squared_mu += float(weights @ pattern)
        return _outcome(label, scores, squared_mu, events)

    def _joint_attack(self, label: str, events: EventCounts) -> list[tuple[str, ...]]:
        noise, counts = joint_noise(), len(METRICS)
        moved = np.tile(np.array(noise.shape.apply((1, 1, 1)), dtype=np.float64), MONTH)
        along = np.tile(np.array(noise.shape.centre, dtype=np.float64), MONTH)
        covariance = noise.release_stddev**2 * np.eye(MONTH * counts)
        covariance += noise.offset_stddev**2 * np.outer(along, along)
        weights = np.linalg.solve(covariance, moved)
        return _outcome(label, self.vectors.reshape(self.months, -1) @ weights, float(weights @ moved), events)

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
            rows.append((label, "95 % interval holds the truth", *_shares(0.95, np.array(held))))
        return Table(("1,000,000 users", "of", *HEAD), tuple(rows), is_simulated=True)


def _filled(draw: Callable[[], int], shape: tuple[int, ...]) -> Units:
    return np.fromiter((draw() for _ in range(math.prod(shape))), dtype=np.int64).reshape(shape)


def _correlated(metric: Metric) -> CorrelatedGaussian:
    noise = metric_noise("correlated", metric)
    assert isinstance(noise, CorrelatedGaussian)
    return noise


def _planned(metric: Metric) -> EventCounts:
    return month_of("correlated", metric, revisions=RESERVE)


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


def _shares(theory: float, held: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> tuple[str, str, str]:
    """Theory, mean and standard error of independent shares, in percent."""
    values = held.astype(np.float64)
    spread = float(values.std(ddof=1)) / math.sqrt(len(values))
    return f"{100 * theory:.1f} %", f"{100 * float(values.mean()):.1f} %", f"{100 * spread:.2f} %"


def _outcome(label: str, scores: Numbers, squared_mu: float, events: EventCounts) -> list[tuple[str, ...]]:
    """False alarms and true positives of a score whose mean is 0 without the user and mu^2 with it, in deviations mu.

    Args:
        label: The case.
        scores: Of months without the user: float64[months]. With the user they are larger by mu^2.
        squared_mu: mu^2 of the user's pattern.
        events: What the guarantee is about.
    """
    mu = math.sqrt(squared_mu)
    limit = mu * NORMAL.inv_cdf(1 - FALSE_POSITIVES)
    bound = f"{100 * true_positive_bound(events, false_positives=FALSE_POSITIVES):.1f} %"
    recognised = gaussian_true_positives(mu, false_positives=FALSE_POSITIVES)
    return [
        (label, "", "false alarms", *_shares(FALSE_POSITIVES, scores > limit)),
        (label, bound, "recognised", *_shares(recognised, scores + squared_mu > limit)),
    ]


def _sketched(sampling: Sampling, capacity: int | None, months: int, generator: np.random.Generator) -> Units:
    """What a sketch counts of random sets of a million users."""
    kept = generator.binomial(SKETCHED_USERS, sampling.theta, size=months)
    if sampling.buckets is not None:
        buckets = sampling.buckets
        hit = [np.count_nonzero(np.bincount(generator.integers(0, buckets, number))) for number in kept]
        return np.array(hit, dtype=np.int64)
    return np.minimum(kept, capacity or SKETCHED_USERS).astype(np.int64)
