"""Ledger rows of accepted sources and of their staged files.

Belongs here: `batches` and `staged_files`. Does not belong here: the files themselves (`lake`), reading a source
(`engines`). Every function takes the connection of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from dpdau_assets.errors import InternalError
from dpdau_assets.storage.ledger.journal_entries import add_journal_entry
from dpdau_assets.storage.ledger.ledger import inserted_number, time_text
from dpdau_assets.storage.ledger.schema import batches, between, staged_files


@dataclass(frozen=True, slots=True)
class Batch:
    """One accepted source (trusted side: its counts are exact).

    Attributes:
        seq: Position in the order of acceptance, from 1.
        batch: Keyed digest of content, column mapping and time zone: 32 hex characters.
        source_format: `jsonl`, `csv` or `parquet`.
        received_at: UTC ISO time.
        events: Rows read.
        accepted: Rows accepted.
        rejected: Rows rejected by reason.
        erasures: Rows with op "-".
        is_folded: Whether one of its files has become part of raw_events.
    """

    seq: int
    batch: str
    source_format: str
    received_at: str
    events: int
    accepted: int
    rejected: Mapping[str, int]
    erasures: int
    is_folded: bool


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of staging/ that is not folded yet."""

    batch_seq: int
    batch: str
    day: date
    epoch: int
    digest: str


def find(connection: Connection, batch: str) -> Batch | None:
    """The batch of that name, None when it was never accepted."""
    row = connection.execute(select(batches).where(batches.c.batch == batch)).one_or_none()
    return None if row is None else Batch(**row._mapping)


def record(
    connection: Connection,
    batch: str,
    *,
    source_format: str,
    events: int,
    accepted: int,
    rejected: Mapping[str, int],
    erasures: int,
    files: Iterable[tuple[date, int, str]],
    now: datetime,
) -> int:
    """Records an accepted source with its staged files and returns its seq.

    Args:
        connection: A write transaction; the files are durable at their final paths before it commits.
        batch: The batch's name; must be new.
        source_format: `jsonl`, `csv` or `parquet`.
        events: Rows read.
        accepted: Rows accepted.
        rejected: Rows rejected by reason.
        erasures: Rows with op "-".
        files: (day, epoch, digest) of every staged file.
        now: The time.
    """
    values: dict[str, Any] = {
        "batch": batch,
        "source_format": source_format,
        "received_at": time_text(now),
        "events": events,
        "accepted": accepted,
        "rejected": dict(rejected),
        "erasures": erasures,
    }
    seq = inserted_number(connection, insert(batches).values(**values, is_folded=False))
    rows = [{"batch_seq": seq, "day": day, "epoch": epoch, "digest": digest} for day, epoch, digest in files]
    if rows:
        connection.execute(insert(staged_files), rows)
    # The entry holds the number of files and not their days, which would outlive the users erased from them.
    add_journal_entry(connection, "batch", {"seq": seq, **values, "files": len(rows)})
    return seq


def last_seq(connection: Connection) -> int:
    """The seq of the newest batch, 0 when there is none: the snapshot of a release."""
    return int(connection.scalar(select(func.max(batches.c.seq))) or 0)


def staged_between(
    connection: Connection, first: date | None = None, last: date | None = None, *, upto_seq: int | None = None
) -> list[StagedFile]:
    """Staged files by day, epoch and batch.

    Args:
        connection: Any transaction.
        first: First day; None for no limit.
        last: Last day; None for no limit.
        upto_seq: Newest batch to consider; None for no limit.
    """
    query = _staged().where(*between(staged_files.c.day, first, last))
    if upto_seq is not None:
        query = query.where(staged_files.c.batch_seq <= upto_seq)
    order = (staged_files.c.day, staged_files.c.epoch, staged_files.c.batch_seq)
    return [StagedFile(**row._mapping) for row in connection.execute(query.order_by(*order))]


def staged_of(connection: Connection, batch_seq: int) -> list[StagedFile]:
    """The staged files of one batch by day and epoch."""
    query = _staged().where(staged_files.c.batch_seq == batch_seq).order_by(staged_files.c.day, staged_files.c.epoch)
    return [StagedFile(**row._mapping) for row in connection.execute(query)]


def staged_days(connection: Connection) -> list[date]:
    """Days with staged files, in order."""
    return list(connection.scalars(select(staged_files.c.day).distinct().order_by(staged_files.c.day)))


def forget_staged(connection: Connection, files: Iterable[StagedFile], *, is_fold: bool = True) -> None:
    """Removes the rows of staged files.

    Args:
        connection: A write transaction; unlink the files after it has committed.
        files: The staged files.
        is_fold: Whether they became part of raw_events, so that their batch can no longer be discarded; False for
            files that an erasure emptied.
    """
    keys = [(file.batch_seq, file.day, file.epoch) for file in files]
    if not keys:
        return
    connection.exec_driver_sql(
        "DELETE FROM staged_files WHERE batch_seq = ? AND day = ? AND epoch = ?",
        [(seq, day.isoformat(), epoch) for seq, day, epoch in keys],
    )
    if is_fold:
        folded = sorted({seq for seq, _, _ in keys})
        connection.exec_driver_sql("UPDATE batches SET is_folded = 1 WHERE seq = ?", [(seq,) for seq in folded])


def set_staged_digest(connection: Connection, file: StagedFile, digest: str) -> None:
    """Records that a staged file was rewritten."""
    columns = staged_files.c
    connection.execute(
        update(staged_files)
        .where(columns.batch_seq == file.batch_seq, columns.day == file.day, columns.epoch == file.epoch)
        .values(digest=digest)
    )


def discard(connection: Connection, batch_seq: int) -> None:
    """Removes a batch that is not folded, with its staged rows, so that its source may be ingested again.

    Raises:
        InternalError: One of its files is folded (check `Batch.is_folded` first); nothing is removed.
    """
    is_folded = connection.scalar(select(batches.c.is_folded).where(batches.c.seq == batch_seq))
    if is_folded is not False:
        raise InternalError("a batch that is folded or unknown cannot be discarded")
    connection.execute(delete(staged_files).where(staged_files.c.batch_seq == batch_seq))
    connection.execute(delete(batches).where(batches.c.seq == batch_seq))
    add_journal_entry(connection, "batch_discarded", {"seq": batch_seq})


@dataclass(frozen=True, slots=True)
class IngestTotals:
    """Sums over all batches (trusted side)."""

    batches: int
    events: int
    accepted: int
    last_received_at: str | None


def totals(connection: Connection) -> IngestTotals:
    """Sums over all batches."""
    columns = batches.c
    row = connection.execute(
        select(
            func.count(), func.sum(columns.events), func.sum(columns.accepted), func.max(columns.received_at)
        ).select_from(batches)
    ).one()
    return IngestTotals(row[0], row[1] or 0, row[2] or 0, row[3])


def _staged() -> Select[Any]:
    return select(staged_files, batches.c.batch).join(batches, batches.c.seq == staged_files.c.batch_seq)
