"""Releases of known exact counts, without activity: for tests of what is added to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import pytest

from dpdau_assets.core.quantities import Metric
from dpdau_assets.operations.release import publish_release
from dpdau_assets.operations.release.counts_snapshot import Counts

TRUE = {"dau": 1000, "wau": 3000, "mau": 10_000}
"""What every day counts."""


def plant_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every release counts `TRUE` from here on, whatever the folder holds."""

    def planted(_workspace: Any, days: Iterable[date], metrics: Sequence[Metric], **_: Any) -> Counts:
        return Counts("set", {(metric, day): TRUE[metric] for metric in metrics for day in days})

    monkeypatch.setattr(publish_release, "snapshot_counts", planted)
