"""When a Dagster daemon last gave a sign of life in a home, read without loading Dagster.

Dagster concept: daemon heartbeats. Loading Dagster takes seconds, which `dpdau status` does not have; therefore this
one table of the home's run database is read directly, and a home of another shape counts as one without a daemon.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

ALIVE_FOR = timedelta(seconds=90)
"""A daemon writes every 30 seconds; after three missed ones it counts as gone."""


def last_heartbeat(home: Path) -> datetime | None:
    """The time, aware, UTC, of the newest heartbeat in `home`; None when there never was one."""
    database = home / "history" / "runs.db"
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            row = connection.execute("SELECT max(timestamp) FROM daemon_heartbeats").fetchone()
        return datetime.fromisoformat(row[0]).replace(tzinfo=UTC) if row and row[0] else None
    except (sqlite3.Error, ValueError, TypeError):
        return None


def is_daemon_alive(home: Path, *, now: datetime) -> bool:
    """Whether a daemon gave a sign of life in `home` within the last 90 seconds."""
    latest = last_heartbeat(home)
    return latest is not None and now - latest < ALIVE_FOR
