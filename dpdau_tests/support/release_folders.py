"""Small data folders for tests of releases: real files, a real ledger, activity put straight into staging."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import CountRecorder, NoiseFactory, Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.lake.key_files import write_keys
from dpdau_assets.storage.ledger import batches, erasures, releases
from dpdau_assets.storage.ledger.erasures import Tombstones
from dpdau_assets.storage.ledger.schema import charges

NEW_YEAR = date(2025, 1, 1)
NOW = datetime(2025, 12, 1, 12, tzinfo=UTC)
JANUARY = DayRange(date(2025, 1, 1), date(2025, 1, 31))


def at(moment: datetime) -> Callable[[], datetime]:
    """A clock that stands still."""
    return lambda: moment


def open_folder(
    path: Path,
    *,
    now: datetime = NOW,
    synthetic: bool = False,
    noise: NoiseFactory | None = None,
    recorder: CountRecorder | None = None,
    **overrides: Any,
) -> Workspace:
    """The data folder at `path`, exact sketches and a series from New Year 2025 unless overridden."""
    settings = Settings(**{"data_dir": path, "series_start": NEW_YEAR, "sketch_impl": "set", **overrides})
    return open_workspace(settings, clock=at(now), synthetic=synthetic, noise=noise, recorder=recorder)


def add_activity(workspace: Workspace, activity: Mapping[date, Sequence[str]]) -> None:
    """Stages one batch: who was active on which day."""
    content = repr(sorted((day, sorted(users)) for day, users in activity.items()))
    name = hashlib.sha256(content.encode()).hexdigest()[:32]
    calendar, files = workspace.salts.calendar, []
    for day, users in activity.items():
        for epoch in calendar.keyed_epochs(day, workspace.settings.mau_window_days):
            keys = user_keys(workspace.salts.epoch_key(epoch), [user.encode() for user in sorted(set(users))])
            keys.sort()
            path = workspace.lake.staging_path(day, batch=name, epoch=epoch)
            files.append((day, epoch, write_keys(path, keys)))
    events = sum(len(users) for users in activity.values())
    with workspace.ledger.write() as connection:
        workspace.freeze(connection)
        batches.record(
            connection,
            name,
            source_format="jsonl",
            events=events,
            accepted=events,
            rejected={},
            erasures=0,
            files=files,
            now=workspace.clock(),
        )


def add_erasure(workspace: Workspace, users: Sequence[str], *, through: date) -> None:
    """Requests the erasure of `users` up to a day, as far back as tests hold data; nothing is replayed."""
    calendar = workspace.salts.calendar
    tombstones = {}
    for epoch in range(calendar.epoch_of(NEW_YEAR - timedelta(days=90)), calendar.epoch_of(through) + 1):
        keys = user_keys(workspace.salts.epoch_key(epoch), [user.encode() for user in sorted(set(users))])
        keys.sort()
        tombstones[epoch] = Tombstones.until(keys, through)
    name = hashlib.sha256(repr((sorted(users), through)).encode()).hexdigest()[:32]
    with workspace.ledger.write() as connection:
        erasures.request(
            connection, name, through_day=through, tombstones=tombstones, users=len(users), now=workspace.clock()
        )


def everybody(count: int, *, first: date = NEW_YEAR, days: int = 1) -> dict[date, list[str]]:
    """`count` users active on each of some days."""
    users = [f"user-{number}" for number in range(count)]
    return {first + timedelta(days=offset): users for offset in range(days)}


def charges_of(workspace: Workspace) -> list[tuple[str, date, str]]:
    """Metric, day and kind of every charge, in the order they were made."""
    with workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT metric, day, kind FROM charges ORDER BY charge").all()
    return [(row[0], date.fromisoformat(row[1]), row[2]) for row in rows]


def releases_of(workspace: Workspace) -> list[releases.Release]:
    """Every stored release with all its revisions."""
    with workspace.ledger.read() as connection:
        return releases.releases_between(connection, all_revisions=True)


def thresholds_found(workspace: Workspace, metric: str) -> list[int]:
    """Thresholds that the charged searches of a metric found."""
    query = select(charges.c.outcome).where(charges.c.metric == metric, charges.c.kind == "threshold")
    with workspace.ledger.read() as connection:
        return [int(outcome["threshold"]) for outcome in connection.scalars(query)]
