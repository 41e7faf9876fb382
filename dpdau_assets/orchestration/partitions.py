"""The daily partitions every asset shares, how a window depends on its days, and ranges of days as run tags.

Dagster concept: partitions definition, partition mapping, partition range. Calendar rules do not belong here
(`core.quantities`), nor the choice of days to run (`sensors`, `schedules`). Everything here is public.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import dagster as dg

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.calendar import days_of_series, until_series_end
from dpdau_assets.settings.settings import Settings

BUILT = ("raw_events", "erasure_replay", "daily_sketches", "mau_unions")
"""The assets that a range of days builds before it is released."""
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


@dataclass(frozen=True, slots=True)
class DailyPartitions:
    """The partitions Dagster shows, fixed when the definitions are loaded.

    Attributes:
        definition: One partition a day in TIMEZONE.
        window_mapping: A window's day depends on the days its longest window holds.
        first: First day with a partition.
        settings: SERIES_START, SERIES_END and MAU_WINDOW_DAYS.
    """

    definition: dg.DailyPartitionsDefinition
    window_mapping: dg.TimeWindowPartitionMapping
    first: date
    settings: Settings

    def clip(self, days: DayRange, *, last_closed: date) -> DayRange | None:
        """The part of `days` that is closed and has partitions, or None when there is none."""
        first, last = max(days.first, self.first), min(days.last, last_closed)
        return days_of_series(self.settings, DayRange(first, last), unset_start=first) if first <= last else None

    def has(self, key: str) -> bool:
        """Whether the day with this key has a partition now."""
        is_shown = date.fromisoformat(key) >= self.first  # asking Dagster takes a thousand times longer
        return is_shown and self.definition.has_partition_key(key)

    def with_windows(self, days: DayRange, *, last_closed: date) -> DayRange | None:
        """`days` and every day whose window holds one of them, as far as closed and partitioned."""
        return self.clip(days.widened(after=self.settings.mau_window_days - 1), last_closed=last_closed)


def daily_partitions(settings: Settings, *, today: date) -> DailyPartitions:
    """The partitions of a data folder.

    They start at SERIES_START, but at most DAGSTER_HISTORY_DAYS back from `today` (or from SERIES_END when the
    series is finished): Dagster's pages grow slow with partitions, and `dpdau rebuild` reaches the older days.

    Args:
        settings: The settings.
        today: The current day in TIMEZONE.
    """
    oldest = until_series_end(settings, today) - timedelta(days=settings.dagster_history_days - 1)
    first = max(settings.series_start or oldest, oldest)
    end = settings.series_end + timedelta(days=1) if settings.series_end else None
    return DailyPartitions(
        definition=dg.DailyPartitionsDefinition(
            start_date=first.isoformat(), end_date=end.isoformat() if end else None, timezone=settings.timezone
        ),
        window_mapping=dg.TimeWindowPartitionMapping(
            start_offset=-(settings.mau_window_days - 1), allow_nonexistent_upstream_partitions=True
        ),
        first=first,
        settings=settings,
    )


def range_tags(days: DayRange) -> dict[str, str]:
    """The run tags that make one run of all `days`."""
    return {
        RANGE_START: days.first.isoformat(),
        RANGE_END: days.last.isoformat(),
    }


def days_of_run(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> DayRange:
    """The days a step is asked for: one partition or a range of them."""
    keys = context.partition_keys
    return DayRange(date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
