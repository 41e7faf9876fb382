"""Ledger rows of the lake's partitions, which are authoritative for every (asset, day).

Belongs here: `partitions`. Does not belong here: when a partition is current (`operations`), its files (`lake`). A
missing row means that nothing is known about that day, which then counts as empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dpdau_assets.storage.ledger.ledger import get_meta, set_meta, time_text
from dpdau_assets.storage.ledger.schema import between, partitions

VERSION_KEY = "partition_version"


@dataclass(frozen=True, slots=True)
class Partition:
    """What is known about one (asset, day).

    Attributes:
        asset: Asset key.
        day: The day.
        files: Epoch (or `windows`) to SHA-256 of the file's bytes; empty for a day without rows.
        input_digest: Digest of everything it was made from.
        applied_erasure_seq: All erasure requests up to this one have been applied.
        built_at: UTC ISO time of the last change of the row; "" before it is saved.
        version: Position in the order of changes; 0 before it is saved.
    """

    asset: str
    day: date
    files: Mapping[str, str]
    input_digest: str
    applied_erasure_seq: int
    built_at: str = ""
    version: int = 0

    @property
    def digest(self) -> str:
        """One digest of all its files."""
        return digest_of(self.files)


def digest_of(files: Mapping[str, str]) -> str:
    """Returns SHA-256 over the sorted lines `epoch:digest`; for a day without files, over no bytes."""
    lines = sorted(f"{epoch}:{digest}" for epoch, digest in files.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load(
    connection: Connection, assets: Sequence[str], first: date | None = None, last: date | None = None
) -> dict[tuple[str, date], Partition]:
    """The known partitions of some assets, by (asset, day).

    Args:
        connection: Any transaction.
        assets: Asset keys.
        first: First day; None for no limit.
        last: Last day; None for no limit.
    """
    columns = [partitions.c[field.name] for field in fields(Partition)]
    query = select(*columns).where(partitions.c.asset.in_(assets), *between(partitions.c.day, first, last))
    return {(row.asset, row.day): Partition(*row) for row in connection.execute(query)}


def names_of_files(connection: Connection) -> list[tuple[str, str, str]]:
    """Returns asset, day and epoch (or `windows`) of every partition's files as text, six times faster than `load`."""
    query = "SELECT asset, day, key FROM partitions, json_each(files)"
    return [(row[0], row[1], row[2]) for row in connection.exec_driver_sql(query)]


def save(connection: Connection, rows: Iterable[Partition], *, now: datetime) -> None:
    """Inserts or replaces partitions; each gets the next version.

    Args:
        connection: A write transaction; the files are durable at their final paths before it commits.
        rows: Partitions; `built_at` and `version` are set here.
        now: The time.
    """
    version = last_version(connection)
    values = [
        {**asdict(row), "digest": row.digest, "built_at": time_text(now), "version": version + position}
        for position, row in enumerate(rows, start=1)
    ]
    if not values:
        return
    set_meta(connection, VERSION_KEY, str(version + len(values)))
    statement = upsert(partitions)
    changed = {name: statement.excluded[name] for name in values[0] if name not in ("asset", "day")}
    connection.execute(statement.on_conflict_do_update(index_elements=["asset", "day"], set_=changed), values)


def last_version(connection: Connection) -> int:
    """Returns the newest version ever given, 0 before the first. No version is reused, even after rows are removed."""
    return int(get_meta(connection, VERSION_KEY) or 0)


def days_with(connection: Connection, asset: str) -> list[date]:
    """Returns the known days of an asset in order, including days whose partition is empty."""
    query = select(partitions.c.day).where(partitions.c.asset == asset).order_by(partitions.c.day)
    return list(connection.scalars(query))


def forget(connection: Connection, asset: str, *, before: date) -> int:
    """Removes an asset's rows of days before `before`; returns how many. Remove the files after the commit."""
    statement = delete(partitions).where(partitions.c.asset == asset, partitions.c.day < before)
    return int(connection.execute(statement).rowcount)


def last_day(connection: Connection) -> date | None:
    """Returns the latest known day of any asset, None when nothing is known."""
    value: date | None = connection.scalar(select(func.max(partitions.c.day)))
    return value


def mark_applied(connection: Connection, seq: int) -> int:
    """Records that all erasure requests up to `seq` are applied to every partition; returns how many rows changed.

    A partition whose files changed is saved with `save` in the same transaction; this call changes no version.
    """
    statement = update(partitions).where(partitions.c.applied_erasure_seq < seq).values(applied_erasure_seq=seq)
    return int(connection.execute(statement).rowcount)


def lowest_applied(connection: Connection) -> int | None:
    """Returns the erasure request up to which every partition is free of erased users; None without partitions."""
    value: int | None = connection.scalar(select(func.min(partitions.c.applied_erasure_seq)))
    return value
