"""Ledger rows of frozen windows: the counts of windows that hold a day that retention has dropped.

Belongs here: `frozen_windows`. When a window freezes belongs to `operations/apply_retention`. A row is written once and
never changes; it holds a count and no key. All of it is sensitive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, insert, select

from dpdau_assets.storage.ledger.journal_entries import add_journal_entry
from dpdau_assets.storage.ledger.schema import frozen_windows


@dataclass(frozen=True, slots=True, repr=False)
class FrozenWindow:
    """One frozen count (sensitive; prints as nothing).

    Attributes:
        day: Last day of the window.
        window_days: Length of the window.
        users: Distinct users as they were stored when the window froze.
        is_exact: Whether `users` is the exact number; False if a sketch estimated it.
    """

    day: date
    window_days: int
    users: int
    is_exact: bool


def freeze(connection: Connection, windows: Iterable[FrozenWindow]) -> int:
    """Stores counts and returns how many were new; a window that is frozen already does not change.

    Args:
        connection: The write transaction that raises the floor of retention.
        windows: The counts.
    """
    rows = connection.execute(select(frozen_windows.c.day, frozen_windows.c.window_days))
    known = {(row.day, row.window_days) for row in rows}
    new = [window for window in windows if (window.day, window.window_days) not in known]
    for window in new:
        row = {"window_days": window.window_days, "users": window.users, "is_exact": window.is_exact}
        connection.execute(insert(frozen_windows).values(day=window.day, **row))
        add_journal_entry(connection, "frozen", {"day": window.day.isoformat(), **row})
    return len(new)


def load(connection: Connection, first: date, last: date) -> Mapping[tuple[date, int], FrozenWindow]:
    """The frozen windows that end on `first` .. `last`, by (day, window length)."""
    columns = frozen_windows.c
    query = select(frozen_windows).where(columns.day >= first, columns.day <= last)
    return {(row.day, row.window_days): FrozenWindow(**row._mapping) for row in connection.execute(query)}
