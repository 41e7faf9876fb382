"""Days whose values may be lost: refused until they are charged, charged once, then released as revision 1."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.errors import DataError, UsageError
from dpdau_assets.operations.budget.lost_releases import (
    assume_released,
    check_accounted,
    days_that_may_be_lost,
    parse_days,
    set_unaccounted,
    unaccounted,
)
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.release_folders import NEW_YEAR, charges_of, open_folder

SECOND, THIRD = date(2025, 1, 2), date(2025, 1, 3)
LOST = DayRange(NEW_YEAR, THIRD)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder whose first three days may have been released in a gap of the journal."""
    made = open_folder(tmp_path, mechanism="laplace")
    with made.ledger.write() as connection:
        set_unaccounted(connection, LOST)
    return made


class TestAssumeReleased:
    def test_every_metric_of_a_day_is_charged_once(self, workspace: Workspace) -> None:
        """The charge is one release of each metric; the day waits no more, and cannot be charged again."""
        done = assume_released(workspace, DayRange.single(SECOND), reason="the report shows it")
        assert done.charged == tuple((metric, SECOND) for metric in METRICS)
        assert done.still_unaccounted == (DayRange.single(NEW_YEAR), DayRange.single(THIRD))
        assert charges_of(workspace) == [(metric, SECOND, "assumed") for metric in METRICS]
        with pytest.raises(UsageError, match="unaccounted"):
            assume_released(workspace, DayRange.single(SECOND), reason="the report shows it")

    def test_without_a_reason_nothing_is_charged(self, workspace: Workspace) -> None:
        """A reason of spaces is none."""
        with pytest.raises(UsageError, match="reason"):
            assume_released(workspace, LOST, reason="  ")
        assert charges_of(workspace) == []


class TestCheckAccounted:
    def test_a_lost_value_is_not_drawn_again_before_it_is_charged(self, workspace: Workspace) -> None:
        """Days outside the gap are free; one inside is refused, and after its charge released as revision 1."""
        check_accounted(workspace, [("dau", date(2025, 1, 4))])
        with pytest.raises(DataError, match="may have been released"):
            publish_releases(workspace, ("dau",), DayRange.single(SECOND))
        assume_released(workspace, DayRange.single(SECOND), reason="the report shows it")
        (result,) = publish_releases(workspace, ("dau",), DayRange.single(SECOND)).results
        assert result.revision == 1


class TestUnaccounted:
    def test_days_are_kept_as_ranges(self, workspace: Workspace) -> None:
        """Days in any order, some of them twice, are read back as the ranges that they form."""
        with workspace.ledger.write() as connection:
            set_unaccounted(connection, [date(2025, 1, 9), SECOND, NEW_YEAR, SECOND])
            assert unaccounted(connection) == (DayRange(NEW_YEAR, SECOND), DayRange.single(date(2025, 1, 9)))


class TestDaysThatMayBeLost:
    def test_they_are_the_closed_days_without_all_three_values(self, workspace: Workspace) -> None:
        """A day of which every metric is accounted for is not lost, nor is one that was open when the gap ended."""
        assume_released(workspace, DayRange.single(SECOND), reason="the report shows it")
        with workspace.ledger.read() as connection:
            until = datetime(2025, 1, 5, 12, tzinfo=UTC)
            found = days_that_may_be_lost(connection, workspace.settings, until=until)
        assert found == [NEW_YEAR, THIRD, date(2025, 1, 4)]


class TestParseDays:
    def test_a_day_or_two_ends_are_days(self) -> None:
        """One day is a range of itself; what is no date, or ends before it starts, is refused."""
        assert parse_days("2025-01-02") == DayRange.single(SECOND)
        assert parse_days("2025-01-01..2025-01-03") == LOST
        for text in ("2025-01-03..2025-01-01", "yesterday", ""):
            with pytest.raises(UsageError):
                parse_days(text)
