"""Counts of a snapshot: what may be read of them."""

from __future__ import annotations

from datetime import date

import pytest

from dpdau_assets.core.release.counts import Counts, releasable_count
from dpdau_assets.errors import InternalError, OutsideSeriesError

DAY, DROPPED, NEVER = date(2025, 3, 1), date(2025, 2, 1), date(2025, 4, 1)
COUNTS = Counts("set", {("dau", DAY): 7, ("wau", DAY): None}, dropped=[("dau", DROPPED)])


class TestCounts:
    def test_hold_what_was_counted(self) -> None:
        """A stored count is read as it is, a window without users as 0."""
        assert (COUNTS.stored("dau", DAY), COUNTS.below("dau", DAY)) == (7, 7)
        assert (COUNTS.stored("wau", DAY), COUNTS.below("wau", DAY), releasable_count(None, 1)) == (None, 0, 0)

    def test_refuse_what_was_dropped_or_never_asked_for(self) -> None:
        """A window past retention is a public fact, a pair that was not asked for an error of ours."""
        with pytest.raises(OutsideSeriesError):
            COUNTS.stored("dau", DROPPED)
        with pytest.raises(InternalError):
            COUNTS.below("mau", NEVER)

    def test_print_as_nothing(self) -> None:
        """No count shows in what is printed."""
        assert "7" not in repr(COUNTS)
