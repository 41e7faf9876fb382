"""A series of published values to draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta

from dpdau_assets.operations.exports.report_charts import ChartPoint
from dpdau_tests.support.release_folders import NEW_YEAR


def points(days: int, *, first: date = NEW_YEAR, missing: Sequence[int] = ()) -> list[ChartPoint]:
    """A gentle wave of published values."""
    return [
        ChartPoint(first + timedelta(days=offset), value, value - 25, value + 25, False, offset >= 29)
        for offset in range(days)
        if offset not in missing
        for value in [round(5000 + 800 * math.sin(offset / 9))]
    ]
