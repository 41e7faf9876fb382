"""What staging answers."""

from __future__ import annotations

from datetime import date

from dpdau_assets.engines.protocol import RowCounts
from dpdau_assets.operations.ingest.report import StageReport, duplicate, report_of, summed

DAYS = (date(2026, 3, 1), date(2026, 3, 4))
COUNTS = RowCounts(5, 3, 1, {"no day": 2}, {"no day": (2, 4)}, DAYS)


class TestReports:
    def test_a_source_is_reported_with_its_counts(self) -> None:
        """One source: its rows, the accepted ones, refused ones by reason, and its days; no line numbers."""
        assert report_of(COUNTS) == StageReport(1, 5, 3, {"no day": 2}, DAYS, 0)

    def test_a_duplicate_adds_itself_alone(self) -> None:
        """A source that was ingested before counts as a file and as a duplicate, and brings no rows."""
        both = summed([report_of(COUNTS), duplicate()])
        assert both == StageReport(2, 5, 3, {"no day": 2}, DAYS, 1)

    def test_a_sum_counts_each_day_once(self) -> None:
        """Rows and reasons add up, days are united."""
        other = StageReport(1, 2, 1, {"no day": 1, "no user": 1}, (date(2026, 2, 1), DAYS[0]), 0)
        both = summed([report_of(COUNTS), other])
        assert (both.events, both.accepted, both.rejected) == (7, 4, {"no day": 3, "no user": 1})
        assert both.days == (date(2026, 2, 1), *DAYS)

    def test_the_document_tells_days_as_a_number_and_a_range(self) -> None:
        """Without days, first and last are null."""
        document = report_of(COUNTS).to_json()
        assert (document["days"], document["first_day"], document["last_day"]) == (2, "2026-03-01", "2026-03-04")
        assert summed([]).to_json()["first_day"] is None
