"""The counts of one snapshot, before noise.

Belongs here: the stored count of a window, and the number that a release may read from it. Does not belong here: how
counts are made (`operations.release.counts_snapshot`). Everything is sensitive, stays in memory and prints as nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from dpdau_assets.core.quantities import Metric
from dpdau_assets.core.sketches.protocol import KEY_SPACE, DistinctSketch
from dpdau_assets.errors import InternalError, OutsideSeriesError

StoredCount = int | DistinctSketch | None
"""What a snapshot holds for a window: a count, a sketch, or None where nobody was active."""


class Counts:
    """Distinct users by metric and day at one snapshot; sensitive, prints as nothing.

    Args:
        impl: SKETCH_IMPL they were made with.
        values: A count (`set`) or a sketch (None when nobody was live) for each metric and day.
        dropped: Pairs whose window holds a day that retention has dropped; they have no value.
    """

    def __init__(
        self,
        impl: str,
        values: Mapping[tuple[Metric, date], StoredCount],
        *,
        dropped: Collection[tuple[Metric, date]] = (),
    ) -> None:
        self.impl = impl
        self._dropped = frozenset(dropped)
        self._values = dict(values)

    def __repr__(self) -> str:
        return "Counts(...)"

    def below(self, metric: Metric, day: date, threshold: int = KEY_SPACE) -> int:
        """The releasable count at `threshold` of the window of `metric` that ends on `day` (sensitive).

        What each sketch counts there is its `threshold_count`: kmv at most k users, hll buckets.

        Guarantee: adding one user changes it by 0 or 1.

        Args:
            metric: The metric.
            day: The day of the release.
            threshold: 1 to 2^64, fixed before this is called (public); `set` counts everybody, whatever it is.

        Raises:
            OutsideSeriesError: Retention had dropped a day of the window when the counts were taken.
            InternalError: The pair was not asked for when the counts were taken.
        """
        return releasable_count(self.stored(metric, day), threshold)

    def stored(self, metric: Metric, day: date) -> StoredCount:
        """What the snapshot holds for the window of `metric` that ends on `day` (sensitive).

        Raises:
            OutsideSeriesError: Retention had dropped a day of the window when the counts were taken.
            InternalError: The pair was not asked for when the counts were taken.
        """
        if (metric, day) in self._dropped:
            raise OutsideSeriesError(
                f"the window of {metric} on {day} is past retention", day=day, hint="ask for a later day"
            )
        if (metric, day) not in self._values:
            raise InternalError(f"no {metric} was counted for {day}")
        return self._values[metric, day]


def releasable_count(stored: StoredCount, threshold: int) -> int:
    """The number below `threshold` that noise may be added to (sensitive); one user changes it by 0 or 1."""
    if stored is None or isinstance(stored, int):
        return stored or 0
    return stored.threshold_count(threshold)
