"""The report of a data folder: what was released, and the budget of its months."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.exports.report import true_positive_rate, write_report
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, add_activity, everybody, open_folder
from dpdau_tests.unit.operations.exports.pages import read

pytestmark = pytest.mark.untraced


class TestWriteReport:
    @pytest.mark.slow
    def test_it_shows_what_was_released(self, tmp_path: Path) -> None:
        """The latest values, the month's budget and the number of releases come from the ledger."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(80, days=31))
        published = publish_releases(workspace, METRICS, JANUARY)
        document = write_report(workspace).read_text(encoding="utf-8")
        for result in published.results[-3:]:
            assert f'<div class="figure">{result.estimate:,}</div>' in document  # halves among them
            assert f"<td>noise {result.noise_stddev:,.1f}</td>" in document
        assert "<small>31 releases</small>" in document
        assert "share a part of their noise" in document
        assert "Budget left in 2025-11" in document  # the clock of the folder stands on 1 December
        assert (read(document).problems, read(document).open) == ([], [])

    def test_a_finished_series_shows_the_budget_of_its_last_month(self, tmp_path: Path) -> None:
        """Months after SERIES_END have a budget that nothing will ever be released from."""
        workspace = open_folder(tmp_path, series_end=JANUARY.last)
        add_activity(workspace, everybody(9, days=1))
        publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        document = write_report(workspace).read_text(encoding="utf-8")
        assert "Budget left in 2025-01" in document
        assert "reads every value of 2025-01" in document

    def test_it_needs_no_release(self, tmp_path: Path) -> None:
        """An untouched folder gives a page too."""
        assert "Nothing is released yet" in write_report(open_folder(tmp_path)).read_text(encoding="utf-8")

    def test_the_same_state_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """No time of writing, no random name."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, ("dau",), JANUARY)
        assert write_report(workspace).read_bytes() == write_report(workspace).read_bytes()

    @pytest.mark.slow
    def test_the_attackers_odds_are_those_of_a_full_month(self, tmp_path: Path) -> None:
        """A default month with its two revisions fills the caps: 13 % true positives at 1 % false ones."""
        workspace = open_folder(tmp_path)
        publish_releases(workspace, METRICS, JANUARY)
        two = DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=1))
        publish_releases(workspace, METRICS, two, revise=True, reason="time zone was wrong")
        with workspace.ledger.read() as connection:
            events = accounts.events_of_period(connection, "2025-01")
        assert true_positive_rate(events) == pytest.approx(0.126, abs=0.001)
        assert true_positive_rate(()) is None
