"""Facts in `meta` about salt epochs and about the first day that is still held.

Belongs here: reading and setting the fingerprint of the salt store, the destroyed epochs, the floor of retention. When
they change belongs to operations (`rotate_salt`, `apply_retention`); the secrets belong to `salt_store`. No fact ever
returns to an earlier value.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.storage.ledger.ledger import get_meta, set_meta

FINGERPRINT_KEY = "salts_fingerprint"
DESTROYED_KEY = "destroyed_below_epoch"
RETENTION_KEY = "retention_floor"


def fingerprint(connection: Connection) -> str | None:
    """Returns the fingerprint of the salt store that has keyed everything since the last rotation; None at first."""
    return get_meta(connection, FINGERPRINT_KEY)


def set_fingerprint(connection: Connection, value: str) -> None:
    """Sets the fingerprint; the first ingest and every rotation do so."""
    set_meta(connection, FINGERPRINT_KEY, value)


def destroyed_below(connection: Connection) -> int:
    """Returns the epoch below which all epochs are destroyed; 0 while none is."""
    return int(get_meta(connection, DESTROYED_KEY) or 0)


def set_destroyed_below(connection: Connection, epoch: int) -> None:
    """Records that the epochs below `epoch` are destroyed; their secrets are removed after the commit."""
    set_meta(connection, DESTROYED_KEY, str(max(epoch, destroyed_below(connection))))


def retention_floor(connection: Connection) -> date:
    """Returns the first day that may be held: earlier days were dropped and are refused; 1970-01-01 at first."""
    value = get_meta(connection, RETENTION_KEY)
    return EARLIEST_DAY if value is None else date.fromisoformat(value)


def raise_retention_floor(connection: Connection, day: date) -> date:
    """Raises the floor to `day` if it is lower, and returns the floor."""
    floor = max(day, retention_floor(connection))
    if floor > EARLIEST_DAY:
        set_meta(connection, RETENTION_KEY, floor.isoformat())
    return floor
