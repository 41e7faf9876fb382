"""What a transaction tells the journal: notes collected on its connection until it commits.

Belongs here: saying what happened. Writing it down belongs to `journal`; doing it again, to `journal_replay`. A note is
a kind and a document of plain JSON values, where `Sealed` stands for bytes that leave the process encrypted only.

The kinds: `created`, `fact`, `batch`, `batch_discarded`, `erasure`, `erasure_completed`, `account`, `offset`, `charge`,
`release`, `reset`, `rotation`, `frozen`, `epochs_destroyed`, `restored`. Never partitions: a history of digests would
be the calendar of whoever was erased.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

_KEY = "dpdau_notes"


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """Bytes that the journal holds encrypted under the secret of one salt epoch; prints as nothing.

    Attributes:
        epoch: The epoch; once its secret is destroyed, nobody can read the bytes again.
        content: The bytes; sensitive.
    """

    epoch: int
    content: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Note:
    """One thing that a transaction did; may hold pseudonyms, so it prints as nothing."""

    kind: str
    document: Mapping[str, Any]


def note(connection: Connection, kind: str, document: Mapping[str, Any]) -> None:
    """Tells the journal, which writes it down durably just before the transaction commits, or not at all.

    Args:
        connection: A write transaction.
        kind: One of the kinds above.
        document: Plain JSON values and `Sealed`; no user id, no pseudonym in clear.
    """
    connection.info.setdefault(_KEY, []).append(Note(kind, document))


def taken(connection: Connection) -> list[Note]:
    """The notes of the connection, which has none afterwards."""
    notes: list[Note] = connection.info.pop(_KEY, [])
    return notes
