"""Ledger rows of erasure requests and tombstones.

Belongs here: `erasure_requests`, `erasure_log`, the tombstone floor, and the only conversion between unsigned
pseudonyms and SQL's signed integers. Does not belong here: which epochs and days a request touches (`core.erasure`),
rewriting files (`operations`).

A tombstone states that everything of a pseudonym up to and including `through_day` is erased. It outlives its request,
because late data, restores and rebuilds must not bring the user back; its link to the request is removed on completion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, func, insert, or_, select

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.storage.ledger.journal_entries import Sealed, add_journal_entry
from dpdau_assets.storage.ledger.ledger import get_meta, inserted_number, set_meta, time_text
from dpdau_assets.storage.ledger.salt_facts import retention_floor
from dpdau_assets.storage.ledger.schema import erasure_log, erasure_requests

Keys = npt.NDArray[np.uint64]
Days = npt.NDArray[np.datetime64]

FLOOR_KEY = "tombstone_floor"
REFERENCE_EPOCH_KEY = "tombstone_base"


@dataclass(frozen=True, slots=True, repr=False)
class Tombstones:
    """Erased pseudonyms of one epoch. They are sensitive and print as nothing.

    Attributes:
        keys: uint64[n], sorted, unique.
        through: datetime64[D][n], the last erased day of each key.
    """

    keys: Keys
    through: Days

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def until(cls, keys: Keys, through_day: date) -> Tombstones:
        """Returns tombstones with the same last day for all `keys` (any order, repeats allowed)."""
        distinct = np.unique(keys)
        return cls(distinct, np.full(len(distinct), np.datetime64(through_day, "D")))

    def to_bytes(self) -> bytes:
        """The tombstones as bytes, for `from_bytes`; sensitive."""
        days = self.through.astype("datetime64[D]").astype("<i8").astype("<i4")
        return self.keys.astype("<u8").tobytes() + days.tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> Tombstones:
        """The inverse of `to_bytes`."""
        count = len(content) // 12
        days = np.frombuffer(content, "<i4", count, 8 * count).astype("<i8").astype("datetime64[D]")
        return cls(np.frombuffer(content, "<u8", count).astype(np.uint64), days)

    def erased_on(self, day: date) -> Keys:
        """The keys that are erased on `day`: uint64[m], sorted; sensitive."""
        is_erased = self.through >= np.datetime64(day, "D")
        return self.keys if is_erased.all() else self.keys[is_erased]


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """One erasure request (trusted side)."""

    seq: int
    request: str
    requested_at: str
    through_day: date
    users: int
    completed_at: str | None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a request did.

    Attributes:
        seq: The request's position in the order of requests.
        is_repeat: Whether a request of that name existed already, so that nothing was changed.
        unchanged_users: Users that were already erased through that day (trusted side).
    """

    seq: int
    is_repeat: bool
    unchanged_users: int


def to_signed(keys: Keys) -> npt.NDArray[np.int64]:
    """Pseudonyms as the ledger stores them: the same 64 bits, signed."""
    return np.ascontiguousarray(keys, dtype=np.uint64).view(np.int64)


def to_unsigned(values: npt.NDArray[np.int64]) -> Keys:
    """The inverse of `to_signed`."""
    return np.ascontiguousarray(values, dtype=np.int64).view(np.uint64)


def request(
    connection: Connection,
    name: str,
    *,
    through_day: date,
    tombstones: Mapping[int, Tombstones],
    users: int,
    now: datetime,
) -> Recorded:
    """Records a request with its tombstones; each tombstone keeps the latest of its days.

    A tombstone that is new or whose day moves becomes pending under this request.

    Args:
        connection: A write transaction.
        name: The request's name, at most 32 characters; a repeat changes nothing.
        through_day: Last erased day over all users.
        tombstones: By epoch; sensitive.
        users: Distinct users in the request.
        now: The time.
    """
    known = find(connection, name)
    if known is not None:
        return Recorded(known.seq, is_repeat=True, unchanged_users=users)
    requested_at = time_text(now)
    seq = inserted_number(
        connection,
        insert(erasure_requests).values(
            request=name, requested_at=requested_at, through_day=through_day, users=users, completed_at=None
        ),
    )
    fewest = users
    for epoch, of_epoch in tombstones.items():
        fewest = min(fewest, len(of_epoch) - upsert_tombstones(connection, epoch, of_epoch, seq=seq))
    row = {"seq": seq, "request": name, "requested_at": requested_at, "through_day": str(through_day), "users": users}
    sealed = {str(epoch): Sealed(epoch, of_epoch.to_bytes()) for epoch, of_epoch in tombstones.items() if len(of_epoch)}
    add_journal_entry(connection, "erasure", {**row, "tombstones": sealed, "reach": _coverage(connection)})
    return Recorded(seq, is_repeat=False, unchanged_users=max(0, fewest))


def restore_coverage(connection: Connection, coverage: Mapping[str, str]) -> None:
    """Sets the floor and the reference epoch of a recorded request, if the journal lines that set them are lost.

    Without them its tombstones would seem to leave out no epoch, and no source would be filtered.
    """
    for key in (FLOOR_KEY, REFERENCE_EPOCH_KEY):
        if key in coverage and get_meta(connection, key) is None:
            set_meta(connection, key, coverage[key])


def _coverage(connection: Connection) -> dict[str, str]:
    """Returns the floor and the reference epoch, in the form that the journal holds with every request."""
    found = {key: get_meta(connection, key) for key in (FLOOR_KEY, REFERENCE_EPOCH_KEY)}
    return {key: value for key, value in found.items() if value is not None}


def upsert_tombstones(connection: Connection, epoch: int, tombstones: Tombstones, *, seq: int) -> int:
    """Upserts the tombstones of one epoch under request `seq`; returns how many rows are new or moved."""
    if not len(tombstones):
        return 0
    before = _total_changes(connection)
    for day in np.unique(tombstones.through):
        # rows are inserted in SQL's order, so that neighbouring rows share pages
        keys = np.sort(to_signed(tombstones.keys[tombstones.through == day]))
        connection.exec_driver_sql(
            "INSERT INTO erasure_log (epoch, user_key, through_day, seq, pending) "
            "SELECT ?, value, ?, ?, 1 FROM json_each(?) WHERE true "
            "ON CONFLICT (epoch, user_key) DO UPDATE SET through_day = excluded.through_day, seq = excluded.seq, "
            "pending = 1 WHERE excluded.through_day > through_day",
            (epoch, str(day), seq, json.dumps(keys.tolist())),
        )
    return _total_changes(connection) - before


def _total_changes(connection: Connection) -> int:
    return int(connection.exec_driver_sql("SELECT total_changes()").scalar_one())


def find(connection: Connection, name: str) -> ErasureRequest | None:
    """The request of that name, None when there is none."""
    row = connection.execute(select(erasure_requests).where(erasure_requests.c.request == name)).one_or_none()
    return None if row is None else ErasureRequest(**row._mapping)


def pending(connection: Connection, *, upto_seq: int | None = None) -> list[ErasureRequest]:
    """Requests that are not complete, oldest first."""
    query = select(erasure_requests).where(erasure_requests.c.completed_at.is_(None))
    if upto_seq is not None:
        query = query.where(erasure_requests.c.seq <= upto_seq)
    return [ErasureRequest(**row._mapping) for row in connection.execute(query.order_by(erasure_requests.c.seq))]


def history(connection: Connection) -> list[ErasureRequest]:
    """All requests, newest first."""
    query = select(erasure_requests).order_by(erasure_requests.c.seq.desc())
    return [ErasureRequest(**row._mapping) for row in connection.execute(query)]


def last_seq(connection: Connection) -> int:
    """The seq of the newest request, 0 when there is none: the snapshot of a release."""
    return int(connection.scalar(select(func.max(erasure_requests.c.seq))) or 0)


def last_through_day(connection: Connection) -> date | None:
    """The latest day that any request erased through, None when there is none."""
    value: date | None = connection.scalar(select(func.max(erasure_requests.c.through_day)))
    return value


def epochs(connection: Connection, *, only_pending: bool = False) -> list[int]:
    """Epochs that hold tombstones, in order."""
    query = select(erasure_log.c.epoch).distinct().order_by(erasure_log.c.epoch)
    if only_pending:
        query = query.where(erasure_log.c.pending)
    return list(connection.scalars(query))


def tombstones(
    connection: Connection,
    epoch: int,
    *,
    through_at_least: date | None = None,
    only_pending: bool = False,
    applied_upto: int | None = None,
) -> Tombstones:
    """The tombstones of one epoch.

    Args:
        connection: Any transaction; use one read transaction for all epochs to see one state.
        epoch: The epoch.
        through_at_least: Only tombstones that erase this day; None for all.
        only_pending: Only tombstones whose request is not complete.
        applied_upto: Tombstones of pending requests after this one are left out.
    """
    condition, values = "epoch = ?", [str(epoch)]
    if through_at_least is not None:
        condition += " AND through_day >= ?"
        values.append(through_at_least.isoformat())
    if only_pending:
        condition += " AND pending = 1"
    if applied_upto is not None:
        condition += " AND (pending = 0 OR seq <= ?)"
        values.append(str(applied_upto))
    found, days = connection.exec_driver_sql(
        f"SELECT group_concat(user_key), group_concat(through_day, '') FROM erasure_log WHERE {condition}",
        tuple(values),
    ).one()
    if found is None:
        return Tombstones(np.empty(0, np.uint64), np.empty(0, "datetime64[D]"))
    keys = to_unsigned(np.fromstring(found, dtype=np.int64, sep=","))  # this is three times faster than fetching rows
    through = np.frombuffer(days.encode("ascii"), dtype="S10").astype("datetime64[D]")
    order = np.argsort(keys)
    return Tombstones(keys[order], through[order])


def complete(connection: Connection, upto_seq: int, *, now: datetime) -> int:
    """Completes every pending request up to `upto_seq`; returns how many.

    Their tombstones stay, but nothing links a person's epochs any more. Call `Ledger.scrub` after the commit, so that
    the links leave the write-ahead log as well.
    """
    done = connection.exec_driver_sql(
        "UPDATE erasure_requests SET completed_at = ? WHERE completed_at IS NULL AND seq <= ?",
        (time_text(now), upto_seq),
    ).rowcount
    if done:
        add_journal_entry(connection, "erasure_completed", {"upto": upto_seq, "completed_at": time_text(now)})
    connection.exec_driver_sql(
        "UPDATE erasure_log SET pending = 0, seq = NULL WHERE pending = 1 AND seq <= ?", (upto_seq,)
    )
    return int(done)


def forget_tombstones(connection: Connection, *, before: date, below_epoch: int) -> int:
    """Removes tombstones that erase no day from `before` on, and those of epochs below `below_epoch`; returns how many.

    Call `Ledger.scrub` after the commit.

    Args:
        connection: A write transaction.
        before: First day that may be held or accepted.
        below_epoch: The first epoch that is not destroyed.
    """
    columns = erasure_log.c
    statement = delete(erasure_log).where(or_(columns.through_day < before, columns.epoch < below_epoch))
    return int(connection.execute(statement).rowcount)


def tombstone_floor(connection: Connection) -> date | None:
    """Returns the first day that tombstones cover, None before the first erasure; earlier days stay closed for ever."""
    value = get_meta(connection, FLOOR_KEY)
    return None if value is None else date.fromisoformat(value)


def acceptance_floor(connection: Connection) -> date:
    """Returns the first day whose activity can be accepted: erasures cover it and retention has not dropped it."""
    return max(tombstone_floor(connection) or EARLIEST_DAY, retention_floor(connection))


def set_tombstone_floor(connection: Connection, day: date) -> None:
    """Sets the first day that tombstones cover; it is set once, with the first erasure."""
    set_meta(connection, FLOOR_KEY, day.isoformat())


def has_any(connection: Connection) -> bool:
    """Returns whether there is any tombstone."""
    return connection.scalar(select(erasure_log.c.epoch).limit(1)) is not None


def reference_epoch(connection: Connection) -> int | None:
    """Returns the epoch under which every erased user has a tombstone, and from which on tombstones leave out no epoch.

    It is None before the first erasure, and in a ledger whose tombstones leave out no epoch.
    """
    value = get_meta(connection, REFERENCE_EPOCH_KEY)
    return None if value is None else int(value)


def set_reference_epoch(connection: Connection, epoch: int) -> None:
    """Sets the reference epoch; it is set once, with the first erasure."""
    set_meta(connection, REFERENCE_EPOCH_KEY, str(epoch))
