"""Unions of consecutive days' sketches, for many windows at once.

Each doubling of the window length takes one union per day, instead of one union for each day of every window: union is
idempotent, so two overlapping runs of days make a longer one. The epoch that a window is counted under does not belong
here: all given sketches must be of one epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TypeVar

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.protocol import DistinctSketch
from dpdau_assets.errors import UsageError

S = TypeVar("S", bound=DistinctSketch)


def union_per_window(day_sketches: Mapping[date, S], *, ends: DayRange, window_days: int) -> dict[date, S]:
    """The sketch of each window that ends on a day of `ends`.

    Guarantee: equal to the union of the window's days one by one; about log2(window_days) unions per window.

    Args:
        day_sketches: Sketch of each day, of one epoch; a day that is absent has no users (sensitive).
        ends: Last days of the windows (public).
        window_days: Length of every window, 1 or more (public).

    Returns:
        Sketch per last day; a window none of whose days has a sketch is absent (sensitive).

    Raises:
        UsageError: `window_days` is below 1.
    """
    if window_days < 1:
        raise UsageError(f"a window of {window_days} days cannot be counted", hint="use 1 day or more")
    days = ends.widened(before=window_days - 1)
    runs = {day: day_sketches[day] for day in days if day in day_sketches}
    length = 1  # runs[d] is the union of the `length` days up to d that lie in `days`
    while length < window_days:
        step = timedelta(days=min(length, window_days - length))
        runs = _joined(runs, days, step)
        length += step.days
    return {day: runs[day] for day in ends if day in runs}


def _joined(runs: Mapping[date, S], days: DayRange, step: timedelta) -> dict[date, S]:
    """For every day, its run united with the run that ended `step` earlier."""
    joined: dict[date, S] = {}
    for day in days:
        recent, earlier = runs.get(day), runs.get(day - step)
        if recent is not None and earlier is not None:
            joined[day] = recent.union(earlier)
        elif recent is not None or earlier is not None:
            joined[day] = recent if recent is not None else earlier  # type: ignore[assignment]
    return joined
