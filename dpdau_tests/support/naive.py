"""The definition of the counts, written as it is said: sets of users, one day and one window at a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from dpdau_assets.core.quantities import METRICS, DayRange, window_days

Erasure = tuple[str, date]


def live_users(events: Iterable[tuple[str, date]], erasures: Iterable[Erasure]) -> dict[date, set[str]]:
    """The users of each day that have activity on it and no erasure through it or a later day."""
    last_erased: dict[str, date] = {}
    for user, through in erasures:
        last_erased[user] = max(through, last_erased.get(user, through))
    users: dict[date, set[str]] = {}
    for user, day in events:
        if user not in last_erased or last_erased[user] < day:
            users.setdefault(day, set()).add(user)
    return users


def naive_counts(
    events: Iterable[tuple[str, date]], erasures: Iterable[Erasure], days: DayRange, *, mau_window_days: int = 30
) -> list[dict[str, object]]:
    """What `count_trusted` must return."""
    users = live_users(events, erasures)
    rows: list[dict[str, object]] = []
    for day in days:
        row: dict[str, object] = {"day": day.isoformat()}
        for metric in METRICS:
            window = [day - timedelta(days=back) for back in range(window_days(metric, mau_window_days))]
            row[metric] = len(set().union(*(users.get(item, set()) for item in window)))
        rows.append(row)
    return rows
