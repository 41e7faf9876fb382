"""Releases of known exact counts, without activity: for tests of what is added to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SecureNoise
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.operations.session.workspace import NoiseFactory, ReleaseSnapshot, Workspace
from dpdau_tests.support.release_folders import open_folder

TRUE = {"dau": 1000, "wau": 3000, "mau": 10_000}
"""What every day counts."""


class PlantedCounts:
    """A recorder that gives every draw the same counts, whatever the folder holds.

    Args:
        counted: The count of each metric.
    """

    def __init__(self, counted: Mapping[str, int]) -> None:
        self._counted = counted

    def counts(self, snapshot: ReleaseSnapshot) -> Counts:
        """The planted counts."""
        return Counts(
            "set", {(metric, day): self._counted[metric] for metric in snapshot.metrics for day in snapshot.days}
        )


class FixedNoise(SecureNoise):
    """Noise that is known, so that no published number meets the exact one by chance.

    Args:
        fresh: Every draw of a release.
        shared: Every draw of the noise that an account's releases share.
    """

    def __init__(self, fresh: int, *, shared: int) -> None:
        self._fresh = fresh
        self._shared = shared
        self._is_shared = False

    def __call__(self, *, account: int, draw: int) -> NoiseSource:
        """A workspace's noise factory."""
        del account
        self._is_shared = draw < 0
        return self

    def discrete_gaussian(self, stddev: float) -> int:
        return self._shared if self._is_shared else self._fresh


class NumberedSharedNoise:
    """A workspace's noise factory: the n-th shared noise is n million half users, far beyond all fresh noise."""

    def __init__(self) -> None:
        self._drawn = 0

    def __call__(self, *, account: int, draw: int) -> NoiseSource:
        if draw >= 0:
            return SecureNoise()
        self._drawn += 1
        return FixedNoise(0, shared=self._drawn * 1_000_000)(account=account, draw=draw)


def open_planted(
    path: Path, *, noise: NoiseFactory | None = None, users: Mapping[str, int] = TRUE, **named: Any
) -> Workspace:
    """As `open_folder`, a synthetic folder of which every release counts `users`."""
    return open_folder(path, synthetic=True, noise=noise, recorder=PlantedCounts(users), **named)
