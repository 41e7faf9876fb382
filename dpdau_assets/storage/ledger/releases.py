"""The ledger's `releases` table: published values as they were stored, which never change.

Belongs here: inserting a release and reading stored ones. The charge of a release belongs to `accounts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from dpdau_assets.storage.ledger.journal_entries import add_journal_entry
from dpdau_assets.storage.ledger.ledger import time_text
from dpdau_assets.storage.ledger.schema import between, releases


@dataclass(frozen=True, slots=True)
class Release:
    """One published value. All of it is public, except a `drawn` below zero."""

    charge: int
    metric: str
    day: date
    revision: int
    drawn: int
    result: Mapping[str, Any]
    reason: str | None
    released_at: str


def insert_release(
    connection: Connection,
    charge: int,
    *,
    metric: str,
    day: date,
    revision: int,
    drawn: int,
    result: Mapping[str, Any],
    reason: str | None,
    now: datetime,
) -> Release:
    """Stores a drawn value with its charge, in the charge's transaction, and returns it.

    Args:
        connection: The write transaction of the charge.
        charge: The charge that paid for it.
        metric: The metric.
        day: The released day.
        revision: Number of this value among those of the metric and day; increasing.
        drawn: The raw noisy integer.
        result: The result that was derived from `drawn`, as JSON.
        reason: Public reason of a revision; None for the first value.
        now: The time.
    """
    values: dict[str, Any] = {
        "charge": charge,
        "metric": metric,
        "day": day,
        "revision": revision,
        "drawn": drawn,
        "result": dict(result),
        "reason": reason,
        "released_at": time_text(now),
    }
    connection.execute(insert(releases), values)
    add_journal_entry(connection, "release", {**values, "day": str(day)})
    return Release(**values)


_LATEST_RELEASE = (
    select(releases)
    .where(releases.c.metric == bindparam("asked_metric"), releases.c.day == bindparam("asked_day"))
    .order_by(releases.c.revision.desc())
    .limit(1)
)


def find_release(connection: Connection, metric: str, day: date) -> Release | None:
    """The latest revision published for a metric and day; None when nothing was."""
    row = connection.execute(_LATEST_RELEASE, {"asked_metric": metric, "asked_day": day}).one_or_none()
    return None if row is None else Release(**row._mapping)


def last_release(connection: Connection, metric: str) -> Release | None:
    """Returns the release of a metric that was made last, whatever its day; None when there is none."""
    query = select(releases).where(releases.c.metric == metric).order_by(releases.c.charge.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else Release(**row._mapping)


def released_days(connection: Connection, metric: str) -> set[date]:
    """Returns the days for which a metric is released."""
    return set(connection.scalars(select(releases.c.day).where(releases.c.metric == metric)))


def releases_between(
    connection: Connection,
    first: date | None = None,
    last: date | None = None,
    *,
    metric: str | None = None,
    all_revisions: bool = False,
) -> list[Release]:
    """Returns published values by day, metric and revision; by default only the latest revision of each."""
    query = select(releases).where(*between(releases.c.day, first, last))
    if metric is not None:
        query = query.where(releases.c.metric == metric)
    order = (releases.c.day, releases.c.metric, releases.c.revision)
    found = [Release(**row._mapping) for row in connection.execute(query.order_by(*order))]
    return found if all_revisions else list({(each.day, each.metric): each for each in found}.values())
