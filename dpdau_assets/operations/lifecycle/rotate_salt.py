"""Manual rotation of the salts: from a date on, pseudonyms follow from a secret that nothing before it leads to.

Belongs here: which dates are possible, and the order of steps. Keys and files belong to storage (`salt_store`,
`salt_file`). Epochs that begin by `HASH_SALT_ROTATION_DAYS` need no rotation: their secrets ratchet by themselves.

    1  under the lake lock, in one ledger transaction: is the date later than everything held, staged or erased?
    2  the store of afterwards is written beside the store
    3  its fingerprint is recorded and the transaction commits: from here on the rotation is made
    4  the new store takes its place; a crash before this is repaired by whoever opens the folder next
    5  a line goes to reports/rotations.md

Whoever opened the folder before 3 can record nothing after it: every transaction that stores pseudonyms, and every
session over the lake, compares the fingerprint.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection

from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.errors import InputError
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import make_durable, read_bytes, write_bytes
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.keys.salt_file import segment_fields
from dpdau_assets.storage.keys.salt_store import RotationRecord, SaltStore
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import batches, erasures, partitions, salt_facts
from dpdau_assets.storage.ledger.journal_entries import add_journal_entry
from dpdau_assets.storage.ledger.ledger import time_text

MOST_DAYS_AHEAD = 366
"""A rotation further ahead is taken for a slip: no other could be made before it."""
HEADER = """\
# Salt rotations

One line for each manual rotation. Copy the newest one to where you keep such records: the fingerprint tells, without
giving anything away, which salt store a copy of this folder must have.

| made at | effective | epoch | days an epoch lasts | fingerprint of the store |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class SaltRotation:
    """What a rotation did (public).

    Attributes:
        record: The rotation.
        is_repeat: Whether it had been made before; nothing was changed then.
    """

    record: RotationRecord
    is_repeat: bool


def rotate_salt(
    workspace: Workspace, effective: date, *, secret: bytes | None = None, rotation_days: int | None = None
) -> SaltRotation:
    """Starts a new salt epoch on a date, with a secret of its own. Open the folder anew afterwards.

    Guarantee: counts do not change, for any window: days before the date are keyed as before, and days from it on also
    under the old epochs in which a window that holds them may start. The same rotation again changes nothing.

    Args:
        workspace: The open data folder; of no use afterwards but to be closed.
        effective: First day of the new epoch, later than every day held, staged or erased (public).
        secret: What the new epoch's secret is derived from; None makes a random one. Sensitive.
        rotation_days: Days an epoch lasts from then on, at least 1; None keeps the length (public).

    Raises:
        InputError: The date is not possible; the message names the earliest one that is.
        StorageError: Somebody else rotated first, or disk, lock or ledger refused; nothing was changed.
    """
    length = rotation_days or workspace.salts.calendar.segments[-1].rotation_days
    lake, salts = workspace.lake, workspace.salts
    with lake.lock():
        is_repeat = salts.has_rotation(effective, rotation_days=length, secret=secret)
        if not is_repeat:
            with workspace.ledger.write() as connection:
                workspace.freeze(connection)
                _check_date(workspace, connection, effective)
                made_at = time_text(workspace.advance_clock(connection))
                salts = salts.rotated(effective, rotation_days=length, secret=secret, made_at=made_at)
                salt_file.put_pending(lake.secrets_path, salts.document())
                salt_facts.set_fingerprint(connection, salts.fingerprint())
                add_journal_entry(connection, "rotation", _rotation_entry(salts))
        take_recorded(lake, salts.fingerprint())
        list_rotations(lake, salts)
    return SaltRotation(salts.rotations()[-1], is_repeat)


def take_recorded(lake: Lake, fingerprint: str) -> bool:
    """Moves a pending store into place if it is the one that the ledger recorded; whether one was."""
    return salt_file.take_pending(lake.secrets_path, is_wanted=lambda one: SaltStore(one).fingerprint() == fingerprint)


def list_rotations(lake: Lake, salts: SaltStore) -> None:
    """Adds to reports/rotations.md every rotation that it does not name yet; what it says else stays."""
    path = lake.rotations_path
    text = read_bytes(path).decode("utf-8", "replace") if path.exists() else HEADER
    lines = [_line(record) for record in salts.rotations() if record.fingerprint not in text]
    if lines:
        start = text if text.endswith("\n") else f"{text}\n"
        write_bytes(path, (start + "".join(lines)).encode())
        make_durable([path])


def _rotation_entry(salts: SaltStore) -> dict[str, Any]:
    """What the journal keeps: the calendar of afterwards and the fingerprint, never a secret."""
    return {"segments": segment_fields(salts.calendar), "fingerprint": salts.fingerprint()}


def _line(record: RotationRecord) -> str:
    fields = (record.made_at, record.effective, record.epoch, record.rotation_days, record.fingerprint)
    return f"| {' | '.join(str(field) for field in fields)} |\n"


def _check_date(workspace: Workspace, connection: Connection, effective: date) -> None:
    """Raises InputError unless an epoch may begin on `effective`.

    A day that is held, staged, erased or dropped keeps its epochs for ever: raw ids are gone and nothing can be keyed
    again.
    """
    begun = workspace.salts.calendar.segments[-1].first_day
    staged = batches.staged_days(connection)[-1:]
    dropped = salt_facts.retention_floor(connection) - ONE_DAY
    known = [begun, dropped, *staged, partitions.last_day(connection), erasures.last_through_day(connection)]
    earliest = max(day for day in known if day is not None) + ONE_DAY
    latest = max(workspace.today(), earliest) + timedelta(days=MOST_DAYS_AHEAD)
    if effective == begun > EARLIEST_DAY:
        raise InputError(
            f"a manual rotation starts on {effective} already, with another secret or another length",
            hint=f"choose {earliest} or later",
        )
    if effective < earliest:
        raise InputError(
            f"salts cannot be rotated from {effective} on: days before {earliest} are held, staged, erased or belong "
            "to an earlier rotation, and keep their epochs",
            hint=f"the earliest possible date is {earliest}",
        )
    if effective > latest:
        raise InputError(
            f"{effective} lies more than a year ahead, and no other rotation could be made before it",
            hint=f"choose a date from {earliest} to {latest}",
        )
