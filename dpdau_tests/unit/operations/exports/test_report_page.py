"""The report page: self-contained, complete and readable with one day or a thousand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.operations.exports.report_page import render_page
from dpdau_tests.unit.operations.exports.pages import page, read
from dpdau_tests.unit.operations.exports.waves import points

pytestmark = pytest.mark.untraced


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
