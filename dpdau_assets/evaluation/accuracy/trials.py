"""One combination of mechanism, sketch and budget, run through the real release path over one stream.

Each trial gets a copy of the folder in which its sketch is built (`prepared_folders`), so that two differ in nothing
else.

Belongs here: the calls and their times, and what is read off the ledger afterwards. Does not belong here: which
combinations there are (`grid`), what is made of the numbers (`measures`), files (`results`).
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dpdau_assets.core.accounting.snapshot import smallest_epsilon
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.mechanisms.interface import NoiseSource
from dpdau_assets.core.mechanisms.samplers import SeededNoise, draw_key, mask_seed
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, days_of_period, period_of
from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.evaluation.accuracy.grid import Cell
from dpdau_assets.evaluation.accuracy.prepared_folders import (
    CLOSED_AFTER,
    BuiltFolder,
    Clock,
    copy_folder,
    open_folder,
)
from dpdau_assets.evaluation.streams.clock import noon
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import NoiseFactory, Workspace


@dataclass(frozen=True, repr=False)
class Trial:
    """What became of one combination.

    Attributes:
        results: Everything released.
        refused: Releases that the budget refused, by metric.
        spent: Epsilon of each metric's account at the end of the month that spent most, recomputed from its events.
        spent_together: The same of all metrics together.
        release_seconds: Seconds of each call that released one day, by metric; a joint call counts for all three.
    """

    results: tuple[ReleaseResult, ...]
    refused: Mapping[str, int]
    spent: Mapping[str, float]
    spent_together: float
    release_seconds: Mapping[str, tuple[float, ...]]


def run_trial(built: BuiltFolder, cell: Cell, privacy: Mapping[str, Any], *, seed: int, timed_days: int) -> Trial:
    """Releases every day of a stream by one combination, through the operations that real releases go through.

    Days are released month by month, the last of them one by one and timed, as a daily schedule does it. With seeded
    noise the same seed gives the same values: the name of the ledger, random by nature, is left out of its keys.

    Args:
        built: Where the stream is built with the cell's sketch.
        cell: The combination.
        privacy: The settings that it stands for.
        seed: Of this trial's noise.
        timed_days: How many days to release one by one.

    Raises:
        ConfigurationError: Releases refuse this combination.
    """
    folder = built.folder.with_name("trial")
    shutil.rmtree(folder, ignore_errors=True)
    copy_folder(built.folder, folder)
    clock = Clock()
    common, overrides = built.prepared.common, {**built.sketch, **privacy}
    noise = _repeatable_noise(seed) if common["noise_source"] == "seeded" else None
    try:
        opened = open_folder(common, folder, clock=clock, noise=noise, **overrides)
        with closing(opened) as workspace:
            return _released(workspace, clock, built.prepared.days, cell, timed_days=timed_days)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def noise_seed(seed: int, cell: Cell, repeat: int) -> int:
    """The seed of one trial's noise: independent of every other's."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{cell.name}/{repeat}".encode()).digest()[:8], "big") >> 1


def _repeatable_noise(seed: int) -> NoiseFactory:
    """Seeded noise as that of releases, whatever the ledger is called."""
    key = mask_seed(seed).to_bytes(8, "big")

    def make(*, account: int, draw: int) -> NoiseSource:
        return SeededNoise(draw_key(key, ledger_id="evaluation", account=account, draw=draw))

    return make


def _released(workspace: Workspace, clock: Clock, days: DayRange, cell: Cell, *, timed_days: int) -> Trial:
    groups: Sequence[Sequence[Metric]] = [METRICS] if cell.mechanism == "joint" else [(metric,) for metric in METRICS]
    first_timed = max(days.first, days.last - timedelta(days=timed_days - 1))
    results: list[ReleaseResult] = []
    refused: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for part in _months(DayRange(days.first, first_timed - timedelta(days=1))) if first_timed > days.first else ():
        clock.now = noon(part.last) + CLOSED_AFTER
        published = publish_releases(workspace, METRICS, part)
        results += published.results
        refused.update(refusal.metric for refusal in published.refused)
    for day in DayRange(first_timed, days.last):
        clock.now = noon(day) + CLOSED_AFTER
        for metrics in groups:
            begun = time.perf_counter()
            published = publish_releases(workspace, metrics, DayRange.single(day))
            for metric in metrics:
                seconds[metric].append(time.perf_counter() - begun)
            results += published.results
            refused.update(refusal.metric for refusal in published.refused)
    spent, together = _spent(workspace, days)
    timed = {metric: tuple(values) for metric, values in seconds.items()}
    return Trial(tuple(results), dict(refused), spent, together, timed)


def _months(days: DayRange) -> list[DayRange]:
    """Days, month by month: an offset shared by a month is gone soon after it."""
    periods = dict.fromkeys(period_of(day) for day in days)
    months = (days_of_period(period) for period in periods)
    return [DayRange(max(days.first, month.first), min(days.last, month.last)) for month in months]


def _spent(workspace: Workspace, days: DayRange) -> tuple[dict[str, float], float]:
    """What each metric's account, and all of them, lost in the month that lost most."""
    settings, book = workspace.settings, BudgetBook(workspace.ledger, workspace.settings)

    def epsilon(events: EventCounts) -> float:
        if not events:
            return 0.0
        return smallest_epsilon(events, delta=settings.delta, **settings.accounting)

    periods = list(dict.fromkeys(period_of(day) for day in days))
    spent: dict[str, float] = {}
    spent |= {metric: max(epsilon(book.terms(metric, period).events) for period in periods) for metric in METRICS}
    return spent, max(epsilon(book.month_events(period)) for period in periods)
