"""The report page: self-contained, complete and readable with one day or a thousand."""

from __future__ import annotations

import html.parser
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.exports.report import true_positive_rate, write_report
from dpdau_assets.operations.exports.report_charts import ChartPoint, date_labels, line_chart
from dpdau_assets.operations.exports.report_page import MonthBudget, Page, Spent, render_page
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.storage.ledger import accounts
from dpdau_tests.support.release_folders import JANUARY, NEW_YEAR, add_activity, everybody, open_folder

pytestmark = pytest.mark.untraced

VOID = {"meta", "link"}


def points(days: int, *, first: date = NEW_YEAR, missing: Sequence[int] = ()) -> list[ChartPoint]:
    """A gentle wave of published values."""
    return [
        ChartPoint(first + timedelta(days=offset), value, value - 25, value + 25, False, offset >= 29)
        for offset in range(days)
        if offset not in missing
        for value in [round(5000 + 800 * math.sin(offset / 9))]
    ]


def page(days: int, *, missing: Sequence[int] = (), is_private: bool = True) -> Page:
    """A page over `days` days for each metric."""
    spent = Spent(1.2, 3.0, 1.8, days)
    month = MonthBudget("2025-01", dict.fromkeys(METRICS, spent), Spent(2.2, 6.0, 3.8, 3 * days))
    return Page(
        series={metric: points(days, missing=missing) for metric in METRICS},
        window_days={"dau": 1, "wau": 7, "mau": 30},
        months=[month],
        delta=1e-6,
        timezone="UTC",
        is_private=is_private,
        shares_noise=True,
        true_positive_rate=0.09,
        version="0.0",
    )


class Balance(html.parser.HTMLParser):
    """Collects tags and attributes and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)


def read(document: str) -> Balance:
    """The document, parsed."""
    parser = Balance()
    parser.feed(document)
    parser.close()
    return parser


class TestPage:
    @pytest.mark.parametrize("days", [1, 2, 13, 60, 1000])
    def test_it_is_whole_and_loads_nothing(self, days: int) -> None:
        """Tags close in order, one chart for each metric, and no address of any kind to fetch."""
        document = render_page(page(days))
        parsed = read(document)
        assert (parsed.problems, parsed.open) == ([], [])
        assert parsed.links == ["data:,"]
        assert document.count("<svg") == 3
        assert not re.search(r"https?:|@import|url\((?!#)|//[a-z]", document)

    def test_a_thousand_days_stay_small(self) -> None:
        """The page of 1,000 days is under a megabyte."""
        assert len(render_page(page(1000)).encode()) < 1_000_000

    def test_seeded_values_carry_a_warning(self) -> None:
        """The page says that values are not private exactly when they are not."""
        assert "Not private." in render_page(page(3, is_private=False))
        assert "Not private." not in render_page(page(3))

    def test_it_says_how_two_days_compare(self) -> None:
        """Where the days of a month share noise the page says so, and that they do not where they do not."""
        shared, alone = render_page(page(3)), render_page(replace(page(3), shares_noise=False))
        assert "share a part of their noise" in shared and "drawn on its own" not in shared
        assert "drawn on its own" in alone and "share a part of their noise" not in alone

    def test_every_value_is_in_the_table(self) -> None:
        """Without scripts and without eyes for charts nothing is lost."""
        document = render_page(page(5))
        for point in points(5):
            assert f"<td>{point.day}</td>" in document
            assert f"<td>{point.estimate:,.0f}</td>" in document

    def test_the_table_splits_the_error(self) -> None:
        """Beside each value stands the deviation from noise, and the one from sampling where there was any."""
        exact, sampled = (replace(point, noise=12.97) for point in points(2))
        series = {"dau": [exact, replace(sampled, sampling=1234.5)], "wau": [], "mau": []}
        document = render_page(replace(page(2), series=series))
        assert document.count("<td>noise 13.0</td>") == 1
        assert document.count("<td>noise 13.0 · sampling 1,234.5</td>") == 1

    def test_an_empty_series_says_so(self) -> None:
        """Before the first release the page is still a page."""
        document = render_page(replace(page(1), series={metric: [] for metric in METRICS}))
        assert "Nothing is released yet" in document
        assert (read(document).problems, read(document).open) == ([], [])

    def test_a_metric_without_releases_leaves_its_card(self) -> None:
        """Metrics that were never released are shown as such, beside those that were."""
        series = {"dau": points(4), "wau": [], "mau": []}
        document = render_page(replace(page(4), series=series))
        assert document.count("<svg") == 1
        assert document.count("not released") >= 2


class TestChart:
    def chart(self, series: Sequence[ChartPoint]) -> str:
        return line_chart(series, first=series[0].day, last=series[-1].day, title="t", name="dau")

    def test_missing_days_break_the_line_and_are_marked(self) -> None:
        """Two gaps: three runs of line and band, two hatched marks with the number of days."""
        drawn = self.chart(points(30, missing=(5, 6, 20)))
        assert drawn.count('class="line"') == drawn.count('class="band"') == 3
        assert "2 days not released" in drawn
        assert "1 day not released" in drawn

    def test_a_lone_day_has_an_error_bar(self) -> None:
        """A day without neighbours cannot be a line."""
        drawn = self.chart(points(1))
        assert drawn.count('class="whisker"') == 1
        assert 'class="line"' not in drawn

    def test_everything_lies_inside_the_drawing(self) -> None:
        """No coordinate leaves the view box, whatever the values."""
        nobody = [replace(point, estimate=0, lower=0, upper=0) for point in points(3)]
        places = re.compile(r'\b(?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"')
        for series in (points(1), points(400), nobody):
            numbers = [float(number) for number in places.findall(self.chart(series))]
            assert numbers
            assert min(numbers) >= 0
            assert max(numbers) <= 960

    def test_lower_bounds_have_their_own_mark(self) -> None:
        """A saturated value is drawn as at least."""
        assert 'class="at-least"' in self.chart([replace(point, is_lower_bound=True) for point in points(2)])

    @pytest.mark.parametrize("days", [1, 8, 30, 61, 365, 1000, 13_000])
    def test_there_are_few_date_labels(self, days: int) -> None:
        """One to nine labels, inside the range, in order."""
        last = NEW_YEAR + timedelta(days=days - 1)
        labels = [day for day, _ in date_labels(NEW_YEAR, last)]
        assert 1 <= len(labels) <= 9
        assert labels == sorted(labels)
        assert NEW_YEAR <= labels[0] <= labels[-1] <= last


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
