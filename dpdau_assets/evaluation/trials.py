"""One combination of mechanism, sketch and budget, played through the real release path over one stream.

    ground   a folder that holds the staged stream, and for each sketch a copy of it in which every day is built
    trial    a copy of its sketch's folder in which the days are released: two trials differ in nothing else

Belongs here: those folders, the calls and their times, and what is read off the ledger afterwards. What was counted
exactly stands beside what was released: the trusted side. Does not belong here: which combinations there are (`grid`),
what is made of the numbers (`accuracy`), files (`results`).
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.accounting.snapshot import smallest_epsilon
from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.dp_events import EventCounts
from dpdau_assets.core.mechanisms.samplers import draw_key
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, days_of_period, period_of
from dpdau_assets.core.release import ReleaseResult
from dpdau_assets.errors import InputError
from dpdau_assets.evaluation.audit.recorder import replaced
from dpdau_assets.evaluation.audit.worlds import noon
from dpdau_assets.evaluation.grid import Cell
from dpdau_assets.operations import draw_release
from dpdau_assets.operations.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.budget_check import BudgetBook
from dpdau_assets.operations.count_trusted import count_trusted
from dpdau_assets.operations.publish_release import publish_releases
from dpdau_assets.operations.stage import stage_files
from dpdau_assets.operations.workspace import Workspace, open_workspace, utc_now
from dpdau_assets.settings import Settings

SHARED_SETTINGS = (
    "timezone",
    "mau_window_days",
    "day_close_delay_hours",
    "delta",
    "advanced_delta",
    "rdp_orders",
    "epsilon_dau",
    "epsilon_wau",
    "epsilon_mau",
    "dau_budget_total",
    "wau_budget_total",
    "mau_budget_total",
    "joint_budget_total",
    "total_budget_month",
    "total_budget_365d",
    "revision_reserve",
    "hash_salt_rotation_days",
)
"""What trials take over from the settings that are in force."""
CLOSED_AFTER = timedelta(days=2)
"""A day is released at noon two days later: closed, whatever the time zone."""


@dataclass(frozen=True, slots=True)
class Source:
    """A stream in a file, and how to read it.

    Attributes:
        path: The file.
        source_format: `jsonl`, `csv` or `parquet`; None goes by name and first bytes.
        mapping: Columns that have other names than the usual ones.
        salt: What its pseudonyms are keyed with, for a made stream, whose sketches are then the same in every run; None
            draws a secret, for ids that may be people's.
    """

    path: Path
    source_format: str | None = None
    mapping: ColumnMapping = field(default_factory=ColumnMapping)
    salt: str | None = None


@dataclass(frozen=True, repr=False)
class Ground:
    """A staged stream with its exact counts (trusted side; prints as nothing).

    Attributes:
        folder: The data folder.
        common: Settings that all trials share.
        days: Days to release.
        exact: Exact users by metric and day.
        first_day: First day of the stream.
        events: Rows of the stream.
    """

    folder: Path
    common: Mapping[str, Any]
    days: DayRange
    exact: Mapping[tuple[str, date], int]
    first_day: date
    events: int


@dataclass(frozen=True, repr=False)
class BuiltGround:
    """A data folder in which every day is built with one sketch, and the seconds that each released day took."""

    ground: Ground
    folder: Path
    sketch: Mapping[str, Any]
    build_seconds: tuple[float, ...]


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


def lay_ground(settings: Settings, source: Source, folder: Path, *, days: int) -> Ground:
    """Stages a stream in a new synthetic folder and counts the last days of it exactly.

    Args:
        settings: The settings in force; their data folder and secrets are not used.
        source: The stream.
        folder: Where to; made here.
        days: How many of the stream's last days to release.

    Raises:
        InputError: The stream cannot be read, or holds no activity.
    """
    common = {name: getattr(settings, name) for name in SHARED_SETTINGS} | {
        "hash_salt_secret": source.salt,
        "noise_source": settings.noise_source,
        "duckdb_threads": settings.duckdb_threads,
    }
    with closing(_open(common, folder, sketch_impl="set")) as workspace:
        report = stage_files(workspace, [source.path], mapping=source.mapping, source_format=source.source_format)
    if not report.days:
        raise InputError(f"{source.path.name} holds no activity", hint="take another stream")
    first, last = report.days[0], report.days[-1]
    released = DayRange(max(first, last - timedelta(days=days - 1)), last)
    common |= {"series_start": first}
    counted = folder.with_name("counted")
    shutil.copytree(folder, counted)
    with closing(_open(common, counted, now=noon(last) + CLOSED_AFTER, sketch_impl="set")) as workspace:
        rows = count_trusted(workspace, released.first, released.last)
    exact: dict[tuple[str, date], int] = {
        (metric, date.fromisoformat(row["day"])): int(row[metric]) for row in rows for metric in METRICS
    }
    shutil.rmtree(counted)
    return Ground(folder, common, released, exact, first, report.events)


def build_ground(ground: Ground, **sketch: Any) -> BuiltGround:
    """A copy of the ground in which every day is built, the released ones day by day and timed.

    Args:
        ground: The staged stream.
        sketch: `sketch_impl`, `sketch_k` and `expected_users`.
    """
    folder = ground.folder.with_name(f"built-{sketch['sketch_impl']}")
    shutil.copytree(ground.folder, folder)
    seconds = []
    now = noon(ground.days.last) + CLOSED_AFTER
    with closing(_open(ground.common, folder, now=now, **sketch)) as workspace:
        bring_up_to_date(workspace, DayRange.single(ground.days.first - timedelta(days=1)))
        for day in ground.days:
            begun = time.perf_counter()
            bring_up_to_date(workspace, DayRange.single(day))
            seconds.append(time.perf_counter() - begun)
    return BuiltGround(ground, folder, sketch, tuple(seconds))


def play_trial(built: BuiltGround, cell: Cell, privacy: Mapping[str, Any], *, seed: int, timed_days: int) -> Trial:
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
    shutil.copytree(built.folder, folder)
    clock = _Clock()
    overrides = {**built.sketch, **privacy, "default_seed": seed}
    try:
        with (
            closing(_open(built.ground.common, folder, clock=clock, **overrides)) as workspace,
            replaced(draw_release, "draw_key", _repeatable_key),
        ):
            return _released(workspace, clock, built.ground.days, cell, timed_days=timed_days)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def noise_seed(seed: int, cell: Cell, repeat: int) -> int:
    """The seed of one trial's noise: independent of every other's."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{cell.name}/{repeat}".encode()).digest()[:8], "big") >> 1


class _Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


def _open(
    common: Mapping[str, Any], folder: Path, *, now: datetime | None = None, clock: _Clock | None = None, **more: Any
) -> Workspace:
    told = clock or _Clock()
    told.now = now or told.now
    return open_workspace(Settings(**{**common, "data_dir": folder, **more}), clock=told, synthetic=True)


def _repeatable_key(experiment_key: bytes, *, ledger_id: str, account: int, draw: int) -> bytes:
    """As `draw_key`, whatever the ledger is called."""
    return draw_key(experiment_key, ledger_id=ledger_id and "evaluation", account=account, draw=draw)


def _released(workspace: Workspace, clock: _Clock, days: DayRange, cell: Cell, *, timed_days: int) -> Trial:
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
        options = {"advanced_delta": settings.advanced_delta, "rdp_orders": settings.rdp_orders}
        return smallest_epsilon(events, delta=settings.delta, **options)  # type: ignore[arg-type]

    periods = list(dict.fromkeys(period_of(day) for day in days))
    spent: dict[str, float] = {}
    spent |= {metric: max(epsilon(book.terms(metric, period).events) for period in periods) for metric in METRICS}
    return spent, max(epsilon(book.month_events(period)) for period in periods)
