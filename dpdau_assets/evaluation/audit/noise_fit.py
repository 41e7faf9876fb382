"""Part 2: the noise of released values has exactly the stated law, hangs together as stated, and is never reused.

The noise of a release is what was stored minus what was read before noise. Taking away the account's offset, where it
has one, leaves the fresh noise, whose law is known to the last digit: chi-squared over bins of equal chance, from the
exact pmf, and the second moment, two-sided, which sees a wrong scale sooner. The second moment judges the offsets, too,
of which every account has one. Missing offsets, shared noise and repeated draws show in the correlations.

Belongs here: those tests on one run with real noise. Does not belong here: guessing (`game`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt

from dpdau_assets.core.mechanisms.calibration import mechanism_from_parameters
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.joint import joint_from_parameters
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf
from dpdau_assets.core.quantities import METRICS, period_of
from dpdau_assets.evaluation.audit.chances import NORMAL, chi_squared_tail, normal_tail
from dpdau_assets.evaluation.audit.scenario_run import ScenarioRun
from dpdau_assets.storage.ledger import accounts

BINS = 11
"""Bins of equal chance: 10 degrees of freedom."""
EDGE = 1e-15
"""Nearest that a place in a law is taken to be to its ends."""
Numbers = npt.NDArray[np.float64]
Read = dict[tuple[str, date], int]


@dataclass(frozen=True)
class FreshNoise:
    """The fresh noise of one account's draws, in the order of their days.

    Attributes:
        values: Noise, in the units of draws; int64[n].
        pmf: Its stated law.
        stddev: Its stated standard deviation.
        shared_noise: That of the account in the same units; 0 where it has none.
        offset_stddev: The stated standard deviation of the shared noise; 0 where there is none.
    """

    values: npt.NDArray[np.int64]
    pmf: Pmf = field(repr=False)
    stddev: float
    shared_noise: int
    shared_stddev: float


@dataclass(frozen=True)
class NoiseFit:
    """What was found about the noise of one run.

    Attributes:
        mechanism: MECHANISM.
        draws: Draws examined.
        level: A test fails when chance alone would give as much with a smaller probability.
        law: Probability by chi-squared that the stated law gives a fit as bad.
        neighbours: The same for the correlation of neighbouring days.
        offsets: The same for the correlation of fresh noise with the offset it is added to; None without offsets.
        scale: The same for the second moment of fresh noise, too large or too small.
        offset_scale: The same for the second moment of the offsets, one for each account; None without offsets.
        spread: Standard deviation found, as a share of the stated one.
        histogram: Draws in each bin of equal chance.
        repeats: Draws of the ledger that were made again, or answers that changed, when asked a second time.
    """

    mechanism: str
    draws: int
    level: float
    law: float
    neighbours: float
    offsets: float | None
    scale: float
    offset_scale: float | None
    spread: float
    histogram: tuple[int, ...]
    repeats: int

    @property
    def findings(self) -> list[str]:
        """Everything that is not as stated."""
        place, found = f"noise of {self.mechanism}", []
        if not self.draws:
            return [f"{place}: nothing was released, so that nothing was tested"]
        if self.law < self.level:
            found.append(f"{place}: not the stated law (p = {self.law:.1e}, spread {self.spread:.2f} of the stated)")
        if self.scale < self.level:
            found.append(f"{place}: not of the stated scale (p = {self.scale:.1e}, {self.spread:.2f} of the stated)")
        if self.offset_scale is not None and self.offset_scale < self.level:
            found.append(f"{place}: the offsets are not of the stated scale (p = {self.offset_scale:.1e})")
        if self.neighbours < self.level:
            found.append(f"{place}: neighbouring days are correlated (p = {self.neighbours:.1e})")
        if self.offsets is not None and self.offsets < self.level:
            found.append(f"{place}: the stated offset is not in the values (p = {self.offsets:.1e})")
        if self.repeats:
            found.append(f"{place}: {self.repeats} values changed or were drawn again when asked a second time")
        return found


def fit_noise(scenario_run: ScenarioRun, *, mechanism: str, level: float, seed: int) -> NoiseFit:
    """Tests the noise of every release of a run.

    Args:
        scenario_run: Made with real noise and without revisions; its last step asked for everything once more.
        mechanism: MECHANISM of the run.
        level: Largest probability of a false alarm of each test.
        seed: Breaks ties between bins.
    """
    parts = [part for account in scenario_run.accounts for part in fresh_noise(scenario_run, account)]
    shared_noises = [
        (scenario_run.shared_noise[account.account], float(account.parameters["offset_stddev"]))
        for account in scenario_run.accounts
        if account.account in scenario_run.shared_noise
    ]
    return judge_noise(
        parts, shared_noises, mechanism=mechanism, level=level, seed=seed, repeats=_repeats(scenario_run)
    )


def judge_noise(
    parts: Sequence[FreshNoise],
    shared_noises: Sequence[tuple[int, float]] = (),
    *,
    mechanism: str,
    level: float,
    seed: int,
    repeats: int = 0,
) -> NoiseFit:
    """Tests fresh noise against its stated law, and offsets against their stated scale.

    Args:
        parts: The fresh noise.
        shared_noises: The shared noise of each account that has one, with its stated stddev, in its own units.
        mechanism: MECHANISM of the run.
        level: Largest probability of a false alarm of each test.
        seed: Breaks ties.
        repeats: Draws that were made again.
    """
    generator = np.random.Generator(np.random.PCG64([seed, 0xF17]))
    if not any(len(part.values) for part in parts):
        return NoiseFit(mechanism, 0, level, 1.0, 1.0, None, 1.0, None, 0.0, (), repeats)
    positions = np.concatenate([_positions(part.values, part.pmf, generator) for part in parts])
    shared = [
        float(_positions(np.array([shared_noise]), discrete_gaussian_pmf(stddev), generator)[0])
        for shared_noise, stddev in shared_noises
    ]
    standard = [part.values / part.stddev for part in parts]
    histogram = np.bincount(np.minimum((positions * BINS).astype(np.int64), BINS - 1), minlength=BINS)
    expected = len(positions) / BINS
    return NoiseFit(
        mechanism=mechanism,
        draws=len(positions),
        level=level,
        law=chi_squared_tail(float(((histogram - expected) ** 2).sum() / expected), degrees=BINS - 1),
        neighbours=_neighbour_chance(standard),
        offsets=_shared_noise_chance(parts),
        scale=_scale_chance(positions),
        offset_scale=_scale_chance(shared) if shared else None,
        spread=float(np.sqrt(np.mean(np.concatenate(standard) ** 2))),
        histogram=tuple(int(count) for count in histogram),
        repeats=repeats,
    )


def fresh_noise(scenario_run: ScenarioRun, account: accounts.Account) -> list[FreshNoise]:
    """The fresh noise of an account; three parts for joint noise, one for each coordinate."""
    read: Read = {(reading.metric, reading.day): reading.value for reading in scenario_run.readings}
    shared_noise = scenario_run.shared_noise.get(account.account, 0)
    if account.mechanism == "joint":
        return _joint_noise(scenario_run, account, read, shared_noise)
    mechanism = mechanism_from_parameters(account.mechanism, account.parameters)
    values = [
        release.drawn - mechanism.units_per_user * read[account.metric, release.day] - shared_noise
        for release in scenario_run.releases
        if release.metric == account.metric and period_of(release.day) == account.period
    ]
    if isinstance(mechanism, CorrelatedGaussian):
        pmf, shared = discrete_gaussian_pmf(mechanism.release_stddev), mechanism.shared_stddev
    else:
        pmf, shared = mechanism.noise_pmf(), 0.0
    return [FreshNoise(np.array(values, dtype=np.int64), pmf, _stddev(pmf), shared_noise, shared)]


def _joint_noise(
    scenario_run: ScenarioRun, account: accounts.Account, read: Read, shared_noise: int
) -> list[FreshNoise]:
    joint = joint_from_parameters(account.parameters)
    rows = []
    for release in scenario_run.releases:
        if release.metric == METRICS[0] and period_of(release.day) == account.period:
            counts = tuple(read[metric, release.day] for metric in METRICS)
            mixed = joint.shape.apply((counts[0], counts[1], counts[2]))
            drawn = release.result["vector"]
            rows.append([drawn[i] - mixed[i] - joint.shape.centre[i] * shared_noise for i in range(len(METRICS))])
    pmf = discrete_gaussian_pmf(joint.release_stddev)
    return [
        FreshNoise(
            np.array([row[i] for row in rows], dtype=np.int64),
            pmf,
            _stddev(pmf),
            joint.shape.centre[i] * shared_noise,
            joint.shape.centre[i] * joint.shared_stddev,
        )
        for i in range(len(METRICS))
    ]


def _positions(values: npt.NDArray[np.int64], pmf: Pmf, generator: np.random.Generator) -> Numbers:
    """Where each draw lies in its law, uniform on [0, 1) when the law holds: a tie is broken at random."""
    smallest, probabilities = pmf
    cumulated = np.concatenate(([0.0], np.cumsum(probabilities)))
    place = np.clip(values - smallest, 0, len(probabilities) - 1)
    return np.asarray(cumulated[place] + probabilities[place] * generator.random(len(place)), dtype=np.float64)


def _neighbour_chance(standard: Sequence[Numbers]) -> float:
    """How likely neighbouring days agree as much by chance: their products are independent with variance 1."""
    products = np.concatenate([values[1:] * values[:-1] for values in standard])
    return normal_tail(float(products.sum()) / math.sqrt(max(1, len(products))))


def _scale_chance(positions: Iterable[float]) -> float:
    """How likely the second moment lies as far from the stated one by chance, on either side.

    Places in the law become normal scores, whose squares sum to a chi-squared, whatever the law and their number.
    """
    scores = [NORMAL.inv_cdf(min(max(place, EDGE), 1 - EDGE)) for place in positions]
    above = chi_squared_tail(math.fsum(score**2 for score in scores), degrees=len(scores))
    return min(1.0, 2 * min(above, 1 - above))


def _shared_noise_chance(parts: Sequence[FreshNoise]) -> float | None:
    """How likely fresh noise agrees with its offset as much by chance; a missing offset makes it the opposite."""
    weights = np.concatenate([np.full(len(part.values), part.shared_noise / part.stddev) for part in parts])
    if not weights.any():
        return None if all(part.shared_stddev == 0 for part in parts) else 1.0
    values = np.concatenate([part.values / part.stddev for part in parts])
    return normal_tail(float(weights @ values) / math.sqrt(float(weights @ weights)))


def _repeats(scenario_run: ScenarioRun) -> int:
    """Values that a second question changed or drew again."""
    first, second = (json.loads(document.content) for document in scenario_run.outside[-2:])
    changed = sum(one != other for one, other in zip(first["bodies"], second["bodies"], strict=True))
    return int(changed) + len(second["newly_released"]) + len(scenario_run.readings) - len(scenario_run.releases)


def _stddev(pmf: Pmf) -> float:
    smallest, probabilities = pmf
    values = np.arange(smallest, smallest + len(probabilities), dtype=np.float64)
    return math.sqrt(float(probabilities @ values**2))
