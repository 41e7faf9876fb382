"""The folders that combinations are run in: a staged stream, and copies of it in which every day is built.

Belongs here: making, opening and copying these folders, the exact counts, and how long building takes. Exact counts are
of the trusted side. Does not belong here: releasing (`trials`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import InputError
from dpdau_assets.evaluation.privacy_settings import PRIVACY_SETTINGS
from dpdau_assets.evaluation.streams.clock import noon
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import NoiseFactory, Workspace, utc_now
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.disk.durable import link_or_copy_new

SHARED_SETTINGS = (
    "timezone",
    "mau_window_days",
    "day_close_delay_hours",
    *PRIVACY_SETTINGS,
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
class PreparedFolder:
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
class BuiltFolder:
    """A data folder in which every day is built with one sketch, and the seconds that each released day took."""

    prepared: PreparedFolder
    folder: Path
    sketch: Mapping[str, Any]
    build_seconds: tuple[float, ...]


def prepare_folder(settings: Settings, source: Source, folder: Path, *, days: int) -> PreparedFolder:
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
    with closing(open_folder(common, folder, sketch_impl="set")) as workspace:
        report = stage_files(workspace, [source.path], mapping=source.mapping, source_format=source.source_format)
    if not report.days:
        raise InputError(f"{source.path.name} holds no activity", hint="take another stream")
    first, last = report.days[0], report.days[-1]
    released = DayRange(max(first, last - timedelta(days=days - 1)), last)
    common |= {"series_start": first}
    counted = folder.with_name("counted")
    copy_folder(folder, counted)
    with closing(open_folder(common, counted, now=noon(last) + CLOSED_AFTER, sketch_impl="set")) as workspace:
        rows = count_trusted(workspace, released.first, released.last)
    exact: dict[tuple[str, date], int] = {
        (metric, date.fromisoformat(row["day"])): int(row[metric]) for row in rows for metric in METRICS
    }
    shutil.rmtree(counted)
    return PreparedFolder(folder, common, released, exact, first, report.events)


def build_folder(prepared: PreparedFolder, **sketch: Any) -> BuiltFolder:
    """A copy of the prepared folder in which every day is built, the released ones day by day and timed.

    Args:
        prepared: The staged stream.
        sketch: `sketch_impl`, `sketch_k` and `expected_users`.
    """
    folder = prepared.folder.with_name(f"built-{sketch['sketch_impl']}")
    copy_folder(prepared.folder, folder)
    seconds = []
    now = noon(prepared.days.last) + CLOSED_AFTER
    with closing(open_folder(prepared.common, folder, now=now, **sketch)) as workspace:
        bring_up_to_date(workspace, DayRange.single(prepared.days.first - timedelta(days=1)))
        for day in prepared.days:
            begun = time.perf_counter()
            bring_up_to_date(workspace, DayRange.single(day))
            seconds.append(time.perf_counter() - begun)
    return BuiltFolder(prepared, folder, sketch, tuple(seconds))


def copy_folder(source: Path, target: Path) -> None:
    """A copy of a data folder; key files, which are replaced and never written into, are linked."""

    def copy(one: str, other: str) -> None:
        if one.endswith(".parquet"):
            link_or_copy_new(Path(one), Path(other))
        else:
            shutil.copy2(one, other)

    shutil.copytree(source, target, copy_function=copy)


class Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


def open_folder(
    common: Mapping[str, Any],
    folder: Path,
    *,
    now: datetime | None = None,
    clock: Clock | None = None,
    noise: NoiseFactory | None = None,
    **more: Any,
) -> Workspace:
    told = clock or Clock()
    told.now = now or told.now
    return open_workspace(Settings(**{**common, "data_dir": folder, **more}), clock=told, synthetic=True, noise=noise)
