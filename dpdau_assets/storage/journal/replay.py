"""Replays the lines of the journal: rows return under their numbers, and a row that differs from its line is refused.

Belongs here: what each kind of entry means for the tables. Finding lines belongs to `journal.lines`. Which lines to
replay is decided by `operations.restore` and, for the one line that a crash left, by `Journal.begin`.

Replaying is idempotent: a row that exists already must be the same. Tombstones return through their upsert, which only
moves a day forward; epochs that were destroyed meanwhile stay destroyed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, Date, Table, delete, insert, select, update

from dpdau_assets.errors import DataError, SaltStoreDamagedError
from dpdau_assets.storage.journal.journal import EpochKeys, sealed_about
from dpdau_assets.storage.journal.lines import Line
from dpdau_assets.storage.journal.sealing import open_sealed
from dpdau_assets.storage.ledger import erasures, schema
from dpdau_assets.storage.ledger.ledger import set_meta

FILE_KINDS = frozenset({"batch", "batch_discarded", "rotation", "epochs_destroyed"})
FILE_FACTS = frozenset({"salts_fingerprint"})
"""Kinds of entries that depend on files. If a crash left such a line, it is void and the caller repeats its work."""


class Replay:
    """Replays lines into a ledger.

    Args:
        keys: The salt store, for the erased pseudonyms; None when there is none, so that they are refused.
        lowest_epoch: Tombstones of earlier epochs are left out, because their secrets are destroyed.
    """

    def __init__(self, keys: EpochKeys | None, *, lowest_epoch: int = 0) -> None:
        self._keys = keys
        self._lowest_epoch = lowest_epoch
        self.files_of_batch: dict[int, int] = {}
        self._apply: dict[str, Callable[[Connection, Line, dict[str, Any]], None]] = {
            "created": self._created,
            "fact": self._fact,
            "batch": self._batch,
            "batch_discarded": self._batch_discarded,
            "erasure": self._erasure,
            "account": lambda connection, _, row: put_row(connection, schema.accounts, row),
            "offset": self._offset,
            "charge": self._charge,
            "release": lambda connection, _, row: put_row(connection, schema.releases, row),
            "frozen": lambda connection, _, row: put_row(connection, schema.frozen_windows, row),
            "reset": lambda connection, _, row: put_row(connection, schema.resets, row),
        }

    def redo(self, connection: Connection, line: Line) -> bool:
        """Replays the transaction of a line that a crash left. Returns False if the line is void instead."""
        if any(_goes_with_files(document) for document in line.document()["notes"]):
            return False
        self.apply(connection, line)
        return True

    def apply(self, connection: Connection, line: Line) -> None:
        """Replays all entries of one line.

        Args:
            connection: A write transaction.
            line: The line.

        Raises:
            DataError: A row exists already and differs, or erased pseudonyms cannot be decrypted.
        """
        for document in line.document()["notes"]:
            kind = document.pop("note")
            step = self._apply.get(kind)
            if step is not None:
                step(connection, line, document)

    def _created(self, connection: Connection, _: Line, facts: dict[str, Any]) -> None:
        for key, value in facts.items():
            set_meta(connection, key, value)

    def _fact(self, connection: Connection, _: Line, fact: dict[str, Any]) -> None:
        set_meta(connection, fact["key"], fact["value"])
        if fact["key"] == "destroyed_below_epoch":
            connection.execute(delete(schema.erasure_log).where(schema.erasure_log.c.epoch < int(fact["value"])))

    def _batch(self, connection: Connection, _: Line, row: dict[str, Any]) -> None:
        self.files_of_batch[row["seq"]] = row.pop("files")
        put_row(connection, schema.batches, row, default={"is_folded": False})

    def _batch_discarded(self, connection: Connection, _: Line, row: dict[str, Any]) -> None:
        seq = row["seq"]
        self.files_of_batch.pop(seq, None)
        connection.execute(delete(schema.staged_files).where(schema.staged_files.c.batch_seq == seq))
        connection.execute(delete(schema.batches).where(schema.batches.c.seq == seq))

    def _erasure(self, connection: Connection, line: Line, row: dict[str, Any]) -> None:
        sealed = row.pop("tombstones")
        erasures.restore_coverage(connection, row.pop("reach", {}))  # older lines do not record it
        put_row(connection, schema.erasure_requests, row, default={"completed_at": None})
        for name, item in sealed.items():
            epoch = int(name)
            if epoch < self._lowest_epoch:
                continue
            if self._keys is None:
                raise SaltStoreDamagedError(
                    "the journal holds erasures that cannot be read without secrets/salts.json",
                    hint="put salts.json back from your copy, or `dpdau salts import FILE`",
                )
            content = open_sealed(
                self._keys.epoch_key(epoch),
                base64.b64decode(item["sealed"]),
                about=sealed_about(line.ledger, line.seq, epoch),
            )
            tombstones = erasures.Tombstones.from_bytes(content)
            erasures.upsert_tombstones(connection, epoch, tombstones, seq=row["seq"])

    def _offset(self, connection: Connection, _: Line, row: dict[str, Any]) -> None:
        columns = schema.accounts.c
        connection.execute(
            update(schema.accounts).where(columns.account == row["account"]).values(sealed_offset=row["sealed_offset"])
        )

    def _charge(self, connection: Connection, line: Line, row: dict[str, Any]) -> None:
        opened = row.pop("opened")
        sealed = opened.pop("sealed_offset", None)
        put_row(connection, schema.accounts, opened)
        if sealed is not None:
            self._offset(connection, line, {"account": opened["account"], "sealed_offset": sealed})
        put_row(connection, schema.charges, row)


def put_row(
    connection: Connection, table: Table, row: Mapping[str, Any], *, default: Mapping[str, Any] | None = None
) -> None:
    """Inserts a row by its primary key. Raises DataError if a row with that key exists already and differs.

    Args:
        connection: A write transaction.
        table: The table.
        row: Column values as the journal holds them: days as text.
        default: Values of columns that the journal does not hold, for a row that is new.

    Raises:
        DataError: Another row has that key.
    """
    values = {name: _typed(table, name, value) for name, value in row.items()}
    keys = [column == values[column.name] for column in table.primary_key.columns]
    known = connection.execute(select(table).where(*keys)).one_or_none()
    if known is None:
        connection.execute(insert(table).values(**{**(default or {}), **values}))
    elif any(known._mapping[name] != value for name, value in values.items()):
        number = values[next(iter(table.primary_key.columns)).name]
        raise DataError(
            f"the journal and the ledger disagree about row {number} of {table.name}",
            hint="use an older backup: `dpdau restore --from FILE`",
        )


def _goes_with_files(document: Mapping[str, Any]) -> bool:
    return document["note"] in FILE_KINDS or document.get("key") in FILE_FACTS


def _typed(table: Table, name: str, value: Any) -> Any:
    is_day = isinstance(table.c[name].type, Date) and isinstance(value, str)
    return date.fromisoformat(value) if is_day else value
