"""What one session took out of key files, because it is erased.

Belongs here: the record of it, and which files there were before. Rewriting files belongs to `live_users`, counting
what the removals change to `count_differences`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from dpdau_assets.storage.lake.parquet_bytes import Keys


@dataclass(frozen=True, slots=True, repr=False)
class Removal:
    """What left one key file (sensitive; prints as nothing).

    Attributes:
        before: Digest of the file before.
        after: Digest of the file after, None when nobody was left.
        keys: uint64[n], sorted, unique: who left.
    """

    before: str
    after: str | None
    keys: Keys


Removals = Mapping[tuple[date, int], Removal]
"""By day and epoch."""


def files_before(removals: Removals, files_now: Callable[[date], Mapping[str, str]]) -> dict[date, dict[str, str]]:
    """The files, by epoch, of every day that somebody was removed from, as they were before.

    Args:
        removals: What was removed.
        files_now: The files of a day by epoch; one that changed for another reason too stays as it is.
    """
    earlier: dict[date, dict[str, str]] = {}
    for (day, epoch), removal in removals.items():
        files = earlier.setdefault(day, dict(files_now(day)))
        if files.get(str(epoch)) == removal.after:
            files[str(epoch)] = removal.before
    return earlier
