"""The charts of the report page: every value inside the drawing, gaps marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from dpdau_assets.operations.exports.report_charts import ChartPoint, date_labels, line_chart
from dpdau_tests.support.release_folders import NEW_YEAR
from dpdau_tests.unit.operations.exports.waves import points

pytestmark = pytest.mark.untraced


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
