"""What staging answers: counts of one or several sources.

Everything here is exact and stays on the trusted side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from dpdau_assets.engines.protocol import RowCounts


@dataclass(frozen=True, slots=True)
class StageReport:
    """What staging did (trusted side: counts are exact).

    Attributes:
        files: Sources given.
        events: Rows read of sources that were new.
        accepted: Rows accepted.
        rejected: Rows refused, by reason.
        days: Days with activity in them, ascending.
        duplicates_of_earlier_batches: Sources that had been ingested before; they changed nothing.
    """

    files: int
    events: int
    accepted: int
    rejected: Mapping[str, int]
    days: tuple[date, ...]
    duplicates_of_earlier_batches: int

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON document; days are a number like the other counters, with the first and the last."""
        return {
            "files": self.files,
            "events": self.events,
            "accepted": self.accepted,
            "rejected": dict(self.rejected),
            "days": len(self.days),
            "first_day": self.days[0].isoformat() if self.days else None,
            "last_day": self.days[-1].isoformat() if self.days else None,
            "duplicates_of_earlier_batches": self.duplicates_of_earlier_batches,
        }


def duplicate() -> StageReport:
    """The report of one source that had been ingested before."""
    return StageReport(1, 0, 0, {}, (), 1)


def report_of(counts: RowCounts) -> StageReport:
    """The report of one source that was read."""
    return StageReport(1, counts.events, counts.accepted, dict(counts.rejected), counts.days, 0)


def summed(reports: Sequence[StageReport]) -> StageReport:
    """One report for several."""
    rejected: Counter[str] = Counter()
    for report in reports:
        rejected.update(report.rejected)
    return StageReport(
        files=sum(report.files for report in reports),
        events=sum(report.events for report in reports),
        accepted=sum(report.accepted for report in reports),
        rejected=dict(rejected),
        days=tuple(sorted({day for report in reports for day in report.days})),
        duplicates_of_earlier_batches=sum(report.duplicates_of_earlier_batches for report in reports),
    )
