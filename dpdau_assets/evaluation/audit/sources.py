"""Noise sources of audits: the real sampler in bulk, the exact law in bulk, and a fault put in on purpose.

Belongs here: what stands in for one draw at a time where an audit needs a million. None of it ever makes a release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.probability.distributions import Pmf, discrete_gaussian_pmf, discrete_laplace_pmf

BATCH = 2000
"""Draws made at once."""


class BulkNoise:
    """Independent draws, made many at a time and handed out one by one.

    Args:
        make: Draws `count` numbers of a kind (`gaussian`, `laplace`) and scale.
    """

    def __init__(self, make: Callable[[str, float, int], list[int]]) -> None:
        self._make = make
        self._ready: dict[tuple[str, float], list[int]] = {}

    name: ClassVar[str] = "secure"
    """`secure`."""

    is_private: ClassVar[bool] = True
    """True: audited in the place of a source that is."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, stddev^2)."""
        return self._next("gaussian", stddev)

    def discrete_laplace(self, scale: float) -> int:
        """One draw with Pr[x] proportional to exp(-|x| / scale)."""
        return self._next("laplace", scale)

    def _next(self, kind: str, scale: float) -> int:
        ready = self._ready.setdefault((kind, scale), [])
        if not ready:
            ready += self._make(kind, scale, BATCH)
        return ready.pop()


def secure_noise() -> NoiseSource:
    """OpenDP's sampler, the one that releases use, in its vector form."""
    return BulkNoise(_opendp_vector)


def exact_noise(seed: int) -> NoiseSource:
    """The exact law by its table, from a seed: for showing that a test sees a fault, where chance must not decide."""
    generator = np.random.Generator(np.random.PCG64([seed, 0xA0D17]))
    tables: dict[tuple[str, float], Pmf] = {}

    def make(kind: str, scale: float, count: int) -> list[int]:
        if (kind, scale) not in tables:
            tables[kind, scale] = discrete_gaussian_pmf(scale) if kind == "gaussian" else discrete_laplace_pmf(scale)
        smallest, probabilities = tables[kind, scale]
        cumulated = np.cumsum(probabilities)
        return [smallest + int(place) for place in np.searchsorted(cumulated, generator.random(count) * cumulated[-1])]

    return BulkNoise(make)


class FaultyNoise:
    """The draws of another source, as a fault changes them; a fault does not announce itself.

    Args:
        source: Where the draws come from.
    """

    name: ClassVar[str] = "secure"
    is_private: ClassVar[bool] = True

    def __init__(self, source: NoiseSource) -> None:
        self._source = source

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, stddev^2)."""
        return self._source.discrete_gaussian(stddev)

    def discrete_laplace(self, scale: float) -> int:
        """One draw with Pr[x] proportional to exp(-|x| / scale)."""
        return self._source.discrete_laplace(scale)


class HalfScaleNoise(FaultyNoise):
    """A fault: every draw has half of the scale that it should have."""

    def discrete_gaussian(self, stddev: float) -> int:
        """One draw of N_Z(0, (stddev / 2)^2)."""
        return super().discrete_gaussian(stddev / 2)

    def discrete_laplace(self, scale: float) -> int:
        """One draw of half the scale."""
        return super().discrete_laplace(scale / 2)


class LessSharedNoise(FaultyNoise):
    """A fault of one account of correlated noise: its first draw, the offset, is taken away from all later ones."""

    def __init__(self, source: NoiseSource) -> None:
        super().__init__(source)
        self._offset: int | None = None

    def discrete_gaussian(self, stddev: float) -> int:
        """The offset at first, then draws of N_Z(0, stddev^2) less the offset."""
        drawn = super().discrete_gaussian(stddev)
        if self._offset is None:
            self._offset = drawn
            return drawn
        return drawn - self._offset


def _opendp_vector(kind: str, scale: float, count: int) -> list[int]:
    from opendp import measurements
    from opendp.domains import atom_domain, vector_domain
    from opendp.metrics import l1_distance, l2_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    domain = vector_domain(atom_domain(T="i64"))
    if kind == "gaussian":
        return list(measurements.make_gaussian(domain, l2_distance(T="i64"), scale)([0] * count))
    return list(measurements.make_laplace(domain, l1_distance(T="i64"), scale)([0] * count))
