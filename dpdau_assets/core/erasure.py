"""The liveness rule, and the days, windows and epochs that an erasure affects.

    live(user, day) = some "+" on that day and no erasure of the user through that day or a later one

The rule looks at the set of entries, never at their order of arrival, so any replay of the log gives the same
live users. Finding and rewriting files does not belong here (operations/pipeline/erasure_replay.py). Pure calendar
arithmetic apart from `is_live`, whose arguments are one user's and sensitive.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from dpdau_assets.core.hashing import EpochCalendar


def is_live(day: date, *, active_days: Iterable[date], erased_through: Iterable[date]) -> bool:
    """Returns whether one user counts on `day`; folding and replay are tested against this reference.

    Guarantee: independent of the order and number of repeats of the entries, and of when they arrived.

    Args:
        day: The day asked for.
        active_days: Days of the user's "+" events (sensitive).
        erased_through: Last days of the user's erasures, each covering every day up to it (sensitive).

    Returns:
        True when the user is live on `day` (sensitive).
    """
    return day in set(active_days) and not any(through >= day for through in erased_through)


def tombstone_epochs(calendar: EpochCalendar, *, floor: date, through: date, window_days: int) -> range:
    """The epochs in which a user's pseudonym must be remembered as erased.

    Guarantee: contains every epoch under which a day from `floor` to `through` is keyed, so no accepted event of
    an erased day can bring the user back under any epoch.

    Args:
        calendar: Epochs in use (public).
        floor: Oldest day that is still accepted or held, 1970-01-01 or later (public).
        through: Last erased day (sensitive: chosen by the user).
        window_days: Longest window in use, MAU_WINDOW_DAYS (public).

    Returns:
        Consecutive epoch numbers; empty when `through` lies before `floor`.
    """
    if through < floor:
        return range(0)
    earliest_start = floor - timedelta(days=window_days - 1)
    return range(calendar.window_epoch(earliest_start), calendar.epoch_of(through) + 1)
