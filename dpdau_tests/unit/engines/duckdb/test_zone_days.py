"""Time zones as tables of UTC days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest

from dpdau_assets.engines.duckdb.zone_days import DAY_SECONDS, zone_days

LAST = date(2026, 6, 1)


class TestZoneDays:
    def test_utc_needs_no_table(self) -> None:
        """A zone that never leaves UTC has no table."""
        assert zone_days(ZoneInfo("Etc/UTC"), LAST) is None

    @pytest.mark.parametrize("name", sorted(available_timezones())[::60])
    def test_every_hour_since_1970_has_the_offset_of_the_zone(self, name: str) -> None:
        """Looking an instant up gives its offset in the zone; checked around every change and at random instants."""
        zone = ZoneInfo(name)
        table = zone_days(zone, LAST)
        if table is None:
            return
        day, change, before, after = (table.column(column).to_numpy() for column in table.column_names)
        around = [c + d for c in change[before != after].tolist() for d in (-3600, -1, 0, 1, 3600)]
        drawn = np.random.default_rng(3).integers(0, 1_780_000_000, 300).tolist()
        for instant in [*around, *drawn]:
            row = instant // DAY_SECONDS - int(day[0])
            offset = int(before[row] if instant < change[row] else after[row])
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=instant)
            assert moment.astimezone(zone).utcoffset() == timedelta(seconds=offset)
