"""What the ledger knows of salt epochs and of the first day that is still held, as facts in `meta`.

Belongs here: reading and setting the fingerprint of the salt store, the epochs destroyed, the floor of retention. When
they change belongs to operations (`rotate_salt`, `apply_retention`); the secrets, to `salt_store`. None ever goes back.
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
    """The fingerprint of the salt store that everything since the last rotation was keyed with; None at first."""
    return get_meta(connection, FINGERPRINT_KEY)


def set_fingerprint(connection: Connection, value: str) -> None:
    """Sets the fingerprint: at the first ingest, and by every rotation."""
    set_meta(connection, FINGERPRINT_KEY, value)


def destroyed_below(connection: Connection) -> int:
    """Epochs below this one are destroyed for good; 0 while none is."""
    return int(get_meta(connection, DESTROYED_KEY) or 0)


def set_destroyed_below(connection: Connection, epoch: int) -> None:
    """Records that the epochs below `epoch` are destroyed; their secrets go after the commit."""
    set_meta(connection, DESTROYED_KEY, str(max(epoch, destroyed_below(connection))))


def retention_floor(connection: Connection) -> date:
    """The first day that may be held: earlier days are dropped and refused; 1970-01-01 while nothing was dropped."""
    value = get_meta(connection, RETENTION_KEY)
    return EARLIEST_DAY if value is None else date.fromisoformat(value)


def raise_retention_floor(connection: Connection, day: date) -> date:
    """Moves the floor up to `day`, never down; the floor."""
    floor = max(day, retention_floor(connection))
    if floor > EARLIEST_DAY:
        set_meta(connection, RETENTION_KEY, floor.isoformat())
    return floor
