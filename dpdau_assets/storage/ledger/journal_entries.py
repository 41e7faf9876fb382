"""The entries that a transaction writes to the journal, collected on its connection until it commits.

Belongs here: collecting entries. Does not belong here: writing them to files (`storage.journal.journal`) and replaying
them (`storage.journal.replay`). An entry is a kind and a document of plain JSON values, where `Sealed` stands for bytes
that leave the process encrypted only. A line of the journal holds its entries under the name `notes`.

The kinds: `created`, `fact`, `batch`, `batch_discarded`, `erasure`, `erasure_completed`, `account`, `offset`, `charge`,
`release`, `reset`, `rotation`, `frozen`, `epochs_destroyed`, `restored`. No kind records a partition: a history of
digests would be the calendar of whoever was erased.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

_KEY = "dpdau_journal_entries"


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """Bytes that the journal holds encrypted under the secret of one salt epoch. They print as nothing.

    Attributes:
        epoch: The epoch; once its secret is destroyed, nobody can read the bytes again.
        content: The bytes; sensitive.
    """

    epoch: int
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class JournalEntry:
    """One change that a transaction made. It may hold pseudonyms, so it prints as nothing."""

    kind: str
    document: Mapping[str, Any]


def add_journal_entry(connection: Connection, kind: str, document: Mapping[str, Any]) -> None:
    """Adds an entry, which the journal writes durably just before the transaction commits, or never if it does not.

    Args:
        connection: A write transaction.
        kind: One of the kinds above.
        document: Plain JSON values and `Sealed`; no user id, no pseudonym in clear.
    """
    connection.info.setdefault(_KEY, []).append(JournalEntry(kind, document))


def take_journal_entries(connection: Connection) -> list[JournalEntry]:
    """Takes the collected entries away from the connection and returns them."""
    entries: list[JournalEntry] = connection.info.pop(_KEY, [])
    return entries
