"""Makes a time zone into a table that says what to add to UTC seconds on each UTC day.

The table is made from the zone object of TIMEZONE, so that no other set of rules can disagree with it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
import pyarrow as pa

from dpdau_assets.core.quantities import EARLIEST_DAY

DAY_SECONDS = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8)
def zone_days(zone: tzinfo, last_day: date) -> pa.Table | None:
    """One row per UTC day from 1969-12-30 to two days after `last_day`; None when the zone is UTC throughout.

    Guarantee: for an instant t on UTC day d, local seconds are t + `before` if t < `change`, else t + `after`. A zone
    that changed twice within one UTC day would break it; none has since 1970.

    Args:
        zone: TIMEZONE (public).
        last_day: Last day that rows may have (public).

    Returns:
        Columns utc_day, change, before, after: int64.
    """
    if str(zone) in ("UTC", "Etc/UTC"):
        return None
    days = range(-2, (last_day - EARLIEST_DAY).days + 3)
    offsets = np.array([_offset(zone, day * DAY_SECONDS) for day in (*days, days.stop)], dtype=np.int64)
    if not offsets.any():
        return None
    before, after = offsets[:-1], offsets[1:]
    change = np.full(len(before), np.iinfo(np.int64).max, dtype=np.int64)
    for index in np.flatnonzero(before != after):
        change[index] = _change(zone, days[int(index)] * DAY_SECONDS)
    return pa.table({"utc_day": np.array(days, dtype=np.int64), "change": change, "before": before, "after": after})


def _offset(zone: tzinfo, instant: int) -> int:
    offset = (_EPOCH + timedelta(seconds=instant)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _change(zone: tzinfo, start: int) -> int:
    """The first second of the UTC day from `start` whose offset is no longer the one at `start`."""
    old, low, high = _offset(zone, start), start, start + DAY_SECONDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == old else (low, middle)
    return high
