"""What a partition is made of: the names of the assets and the digest of each asset's inputs.

A partition is current when its recorded input digest is what these functions say now. How inputs become files belongs
to the operation of each asset. Digests are of the trusted side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import repeat

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY, DayRange
from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.core.windows import Window

WAU_WINDOW_DAYS = 7
NO_FILES: Mapping[date, str] = {}


def sketch_inputs(live_digest: str, *, plan: SketchPlan) -> str:
    """The input digest of a day's sketches; `set` has no size, so a changed SKETCH_K does not concern it."""
    return _digest([live_digest, plan.impl, str(plan.size)])


def union_inputs(
    windows: Sequence[tuple[Window, int]], files: Mapping[str, Mapping[date, str]], *, plan: SketchPlan
) -> str:
    """The input digest of the windows that end on one day.

    Args:
        windows: Each window with the epoch it is counted under.
        files: For each epoch the files of its days' sketches, see `by_epoch`.
        plan: How sketches are made.
    """
    lines = [plan.impl, str(plan.size)]
    for window, epoch in windows:
        lines.append(f"{len(window)} {window.last} e{epoch}")
        lines.extend(map(files.get(str(epoch), NO_FILES).get, _days(window.first, window.last), repeat("-")))
    return _digest(lines)


def by_epoch(files: Mapping[date, Mapping[str, str]]) -> dict[str, dict[date, str]]:
    """The files of days, each with its files by epoch, turned round: by epoch, then by day."""
    turned: dict[str, dict[date, str]] = {}
    for day, named in files.items():
        for epoch, digest in named.items():
            turned.setdefault(epoch, {})[day] = digest
    return turned


def union_windows(day: date, *, mau_window_days: int, calendar: EpochCalendar) -> list[tuple[Window, int]]:
    """The windows of a `mau_unions` partition, each with the epoch it is counted under."""
    windows = [Window(day - (length - 1) * ONE_DAY, day) for length in (WAU_WINDOW_DAYS, mau_window_days)]
    return [(window, calendar.window_epoch(window.first)) for window in windows]


def days_behind_windows(days: DayRange, mau_window_days: int) -> DayRange:
    """The days that hold activity of the windows ending on `days`, none before 1970-01-01."""
    first = max(days.first - (mau_window_days - 1) * ONE_DAY, EARLIEST_DAY)
    return DayRange(min(first, days.last), days.last)


@lru_cache(maxsize=4096)
def _days(first: date, last: date) -> tuple[date, ...]:
    """The days of a window: each is asked for again and again."""
    return tuple(DayRange(first, last))


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
