"""Requesting an erasure: from now on the users count on no day up to the given one, whenever activity arrives.

Belongs here: turning ids into tombstones and recording the request. Applying it to files belongs to
`erasure_replay`; "-" rows of a source, to `stage`. Ids are used and forgotten: none is written, logged or raised.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from dpdau_assets.core.activity import MAX_ID_BYTES
from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.engines.duckdb.bulk_pseudonyms import bulk_user_keys
from dpdau_assets.errors import InputError
from dpdau_assets.operations.erase.tombstones import tombstone_epochs
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import erasures
from dpdau_assets.storage.ledger.erasures import Keys, Tombstones


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """The answer to an erasure request (trusted side).

    Attributes:
        request: Name of the request: 32 hex characters.
        requested: Distinct users asked for.
        already_known: Users among them that were erased through that day before.
    """

    request: str
    requested: int
    already_known: int


def request_erasure(workspace: Workspace, user_ids: Iterable[bytes], *, through: date, now: datetime) -> ErasureReceipt:
    """Records that users are erased on every day up to `through`; durable when this returns.

    Guarantee: every release whose snapshot lies after this counts none of them on those days, also when their activity
    arrives later. Files hold them until the next replay. The lake lock is not needed.

    Args:
        workspace: The open data folder.
        user_ids: Ids, 1 to 1,024 bytes of UTF-8 each; repeats do not matter. Sensitive.
        through: Last day to erase, 1970-01-01 to tomorrow.
        now: Aware time of the request.

    Raises:
        InputError: No id, an id that no event can have, or a day out of range.
        ConfigurationError: A setting disagrees with what the stored pseudonyms were made with.
        StorageError: The ledger refused.
    """
    users = _checked(user_ids)
    last = now.astimezone(workspace.settings.zone).date() + ONE_DAY
    if not EARLIEST_DAY <= through <= last:
        raise InputError(
            f"erasing through {through} is not possible", hint=f"choose a day from {EARLIEST_DAY} to {last}"
        )
    with workspace.ledger.write() as connection:
        workspace.freeze(connection)
        epochs = tombstone_epochs(workspace, connection, through).epochs
    name = secrets.token_hex(16)
    pseudonyms: dict[int, Keys] = {}
    while True:
        # Pseudonyms are computed outside the transaction: it may be many, and other writers wait for it.
        new = [epoch for epoch in epochs if epoch not in pseudonyms]
        keys = ((epoch, workspace.salts.epoch_key(epoch)) for epoch in new)
        pseudonyms.update(bulk_user_keys(users, keys, threads=workspace.settings.duckdb_threads))
        with workspace.ledger.write() as connection:
            workspace.freeze(connection)  # once more: the salts may have been rotated in between
            epochs = tombstone_epochs(workspace, connection, through).epochs
            if pseudonyms.keys() >= set(epochs):  # otherwise days under another epoch arrived in between
                tombstones = {epoch: Tombstones.until(pseudonyms[epoch], through) for epoch in epochs}
                done = erasures.request(
                    connection, name, through_day=through, tombstones=tombstones, users=len(users), now=now
                )
                return ErasureReceipt(name, len(users), done.unchanged_users if epochs else 0)


def erasure_status(workspace: Workspace) -> list[dict[str, Any]]:
    """Every erasure request, newest first (trusted side): when, through which day, how many users, completed when."""
    with workspace.ledger.read() as connection:
        requests = erasures.history(connection)
    return [
        {
            "request": one.request,
            "requested_at": one.requested_at,
            "through_day": one.through_day.isoformat(),
            "users": one.users,
            "completed_at": one.completed_at,
        }
        for one in requests
    ]


def _checked(user_ids: Iterable[bytes]) -> list[bytes]:
    """The distinct ids, in the order given; each one that an event could have."""
    users: dict[bytes, None] = {}
    for number, user_id in enumerate(user_ids, start=1):
        if not 1 <= len(user_id) <= MAX_ID_BYTES:
            raise InputError(f"id number {number} has {len(user_id):,} bytes", hint=f"ids have 1 to {MAX_ID_BYTES:,}")
        try:
            user_id.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"id number {number} is not UTF-8", hint="no event with such an id was accepted") from None
        users[user_id] = None
    if not users:
        raise InputError("no user id was given", hint="one id a line")
    return list(users)
