"""Which days have partitions, and how ranges of them become runs."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.orchestration.partitions import RANGE_END, RANGE_START, DailyPartitions, daily_partitions, range_tags
from dpdau_assets.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

TODAY = date(2026, 6, 15)


def _partitions(**settings: object) -> DailyPartitions:
    return daily_partitions(Settings(**settings), today=TODAY)  # type: ignore[arg-type]


class TestDailyPartitions:
    def test_they_start_with_the_series(self) -> None:
        """The first day of the series has the first partition."""
        assert _partitions(series_start=date(2026, 1, 1)).first == date(2026, 1, 1)

    def test_they_reach_back_no_further_than_the_history(self) -> None:
        """A long series shows its newest DAGSTER_HISTORY_DAYS only."""
        partitions = _partitions(series_start=date(2010, 1, 1), dagster_history_days=100)
        assert partitions.first == TODAY - timedelta(days=99)

    def test_without_a_series_there_are_partitions_all_the_same(self) -> None:
        """Data can be built before anyone decided what to publish."""
        assert _partitions(dagster_history_days=10).first == TODAY - timedelta(days=9)

    def test_a_finished_series_is_shown_whole(self) -> None:
        """The history of a series that has ended counts back from its end, and nothing follows it."""
        partitions = _partitions(
            series_start=date(2009, 12, 1), series_end=date(2011, 12, 9), dagster_history_days=1100
        )
        keys = partitions.definition.get_partition_keys()
        assert (keys[0], keys[-1]) == ("2009-12-01", "2011-12-09")

    @pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "Pacific/Apia", "America/Sao_Paulo"])
    def test_every_day_of_a_zone_with_clock_changes_has_one_partition(self, timezone: str) -> None:
        """Clock changes neither lose nor double a day."""
        start, end = date(2012, 1, 1), date(2012, 12, 31)
        partitions = _partitions(series_start=start, series_end=end, timezone=timezone)
        assert partitions.definition.get_partition_keys() == [day.isoformat() for day in DayRange(start, end)]


class TestRanges:
    def test_a_clipped_range_is_closed_and_partitioned(self) -> None:
        """Days before the first partition, after the series or still open are left out."""
        partitions = _partitions(series_start=date(2026, 6, 1), series_end=date(2026, 6, 12))
        wide = DayRange(date(2026, 5, 1), date(2026, 7, 1))
        assert partitions.clip(wide, last_closed=date(2026, 6, 10)) == DayRange(date(2026, 6, 1), date(2026, 6, 10))
        assert partitions.clip(wide, last_closed=date(2026, 6, 20)) == DayRange(date(2026, 6, 1), date(2026, 6, 12))
        assert partitions.clip(wide, last_closed=date(2026, 5, 31)) is None

    def test_the_windows_over_a_day_end_up_to_a_window_later(self) -> None:
        """A change of day d concerns the windows that end on d to d + 29."""
        partitions = _partitions(series_start=date(2026, 1, 1))
        day = date(2026, 2, 1)
        assert partitions.with_windows(DayRange.single(day), last_closed=TODAY) == DayRange(day, date(2026, 3, 2))

    def test_a_range_is_one_run(self) -> None:
        """The tags name the first and the last partition."""
        days = DayRange(date(2026, 2, 1), date(2026, 3, 2))
        assert range_tags(days) == {RANGE_START: "2026-02-01", RANGE_END: "2026-03-02"}

    def test_a_window_depends_on_all_its_days(self) -> None:
        """The mapping of windows holds MAU_WINDOW_DAYS days and ignores those before the first partition."""
        partitions = _partitions(series_start=date(2026, 1, 1), mau_window_days=30)
        upstream = partitions.window_mapping.get_upstream_mapped_partitions_result_for_partitions(
            downstream_partitions_subset=partitions.definition.subset_with_partition_keys(["2026-01-05", "2026-02-10"]),
            downstream_partitions_def=partitions.definition,
            upstream_partitions_def=partitions.definition,
        )
        keys = list(upstream.partitions_subset.get_partition_keys())
        assert keys == [
            day.isoformat()
            for day in DayRange(date(2026, 1, 1), date(2026, 2, 10))
            if not date(2026, 1, 5) < day < date(2026, 1, 12)
        ]
