"""The judgement of rows in SQL against the reference rules of core."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.engines.duckdb.relations import ZONE_VIEW, Relation, coded_rows
from dpdau_assets.engines.duckdb.row_sql import REASON_OF, Moment, moment, number_moment, text_moment, verdict
from dpdau_assets.engines.duckdb.zone_days import zone_days
from dpdau_tests.support.engine_reads import TODAY, naive_day
from dpdau_tests.support.row_rules import reason_against

ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Pacific/Kiritimati", "Asia/Kolkata", "Africa/Monrovia")
CONNECTION = duckdb.connect(config={"threads": 1})


def days_in_sql(values: pa.Array, found: Moment, *, zone: ZoneInfo) -> list[int | str]:
    """The day numbers that SQL finds in column `value`."""
    CONNECTION.register("given", pa.table({"number": range(len(values)), "value": values}))
    table = zone_days(zone, TODAY + ONE_DAY)
    if table is not None:
        CONNECTION.register(ZONE_VIEW, table)
    sql = (
        f"SELECT number, NULL::TINYINT AS fault, 'u' AS user_id, NULL AS op, "
        f"{found.day} AS day_number, {found.instant} AS instant FROM given"
    )
    judged = verdict(TODAY + ONE_DAY, oldest_day=EARLIEST_DAY, alignment=0)
    rows = coded_rows(Relation(sql, has_instants=True, is_fault_free=True), judged, has_zone=table is not None)
    answers = CONNECTION.execute(f"SELECT local_day, code FROM ({rows}) ORDER BY number").fetchall()
    return [REASON_OF.get(code, day) for day, code in answers]


def days_by_core(values: list[object], *, zone: ZoneInfo) -> list[int | str]:
    """The same by the rules of core: a day number, or the reason against the row."""
    answers: list[int | str] = []
    for value in values:
        day = naive_day(value, zone=zone)
        reason = reason_against(b"u", day, op=None, today=TODAY)
        answers.append(reason or (day - EARLIEST_DAY).days)  # type: ignore[operator]
    return answers


digits = st.integers(0, 9).map(str)
years = st.sampled_from(["1969", "1970", "1999", "2024", "2026", "2027", "0000", "0001", "9998"])
dates = st.builds(lambda y, m, d: f"{y}-{m:02d}-{d:02d}", years, st.integers(0, 13), st.integers(0, 32))
clocks = st.builds(
    lambda h, m, s, f: f"{h:02d}:{m:02d}{s}{f}",
    st.integers(0, 24),
    st.integers(0, 60),
    st.sampled_from(["", ":00", ":59", ":60", ":5"]),
    st.sampled_from(["", ".5", ",123456789", ".1234567890", "."]),
)
offsets = st.sampled_from(
    [
        "",
        "Z",
        "z",
        " Z",
        "+00:00",
        "-05",
        "+0530",
        "+23:59",
        "-23:59",
        "+24:00",
        "+5:30",
        " +02:00",
        "  Z",
        "-00:60",
        "+",
    ]
)
timestamps = st.builds("{}{}{}{}".format, dates, st.sampled_from(["T", " ", "t", "", "  "]), clocks, offsets)
numbers = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "-", "+"]),
    st.one_of(st.integers(0, 10**15).map(str), st.integers(0, 200_000).map("{:014d}".format), st.just("")),
    st.sampled_from(["", ".0", ".5", ".000000001", ".", ".1234567890"]),
)
padded = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", " ", "\t"]),
    st.one_of(dates, timestamps, numbers),
    st.sampled_from(["", "  ", "\n", "x"]),
)
odd = st.one_of(
    st.text(max_size=12), st.sampled_from(["infinity", "epoch", "now", "2026-01-01 (BC)", "٢٠٢٦-٠١-٠١", "2026-1-1"])
)


class TestTimes:
    @pytest.mark.parametrize("zone", ZONES)
    @settings(max_examples=12, deadline=None)
    @given(values=st.lists(st.one_of(padded, odd), min_size=1, max_size=200))
    @pytest.mark.one_is_enough
    def test_a_text_means_the_day_that_core_finds_in_it(self, values: list[str], zone: str) -> None:
        """For any text the SQL grammar gives the day, or the reason, of parse_day and reason_against."""
        there = ZoneInfo(zone)
        trimmed = [value.strip(" ") for value in values]
        kept = [value for value in trimmed if value and "\x00" not in value]
        found = days_in_sql(pa.array(kept, pa.string()), text_moment("value"), zone=there)
        assert dict(zip(kept, found, strict=True)) == dict(zip(kept, days_by_core(list(kept), zone=there), strict=True))

    @pytest.mark.parametrize("zone", ZONES)
    @settings(max_examples=12, deadline=None)
    @given(
        values=st.lists(
            st.one_of(
                st.floats(allow_nan=True, allow_infinity=True),
                st.floats(-200_000, 1.8e9),
                st.floats(1e11, 1.8e12),
                st.integers(-(10**15), 10**15).map(float),
            ),
            min_size=1,
            max_size=200,
        )
    )
    def test_a_number_means_the_day_that_core_finds_in_it(self, values: list[float], zone: str) -> None:
        """For any number SQL gives the day, or the reason, of parse_day and reason_against."""
        there = ZoneInfo(zone)
        found = days_in_sql(pa.array(values, pa.float64()), number_moment("value", "value"), zone=there)
        assert found == days_by_core(list(values), zone=there)

    @settings(max_examples=12, deadline=None)
    @given(values=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**14), 10**14), min_size=1, max_size=200))
    def test_a_whole_number_means_the_day_that_core_finds_in_it(self, values: list[int]) -> None:
        """Whole numbers of any size are judged like numbers in JSON, without an overflow."""
        there = ZoneInfo("Europe/Vienna")
        found = moment("BIGINT", "value")
        assert found is not None
        assert days_in_sql(pa.array(values, pa.int64()), found, zone=there) == days_by_core(list(values), zone=there)

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    @pytest.mark.parametrize("zone", ZONES)
    @pytest.mark.one_is_enough
    def test_a_timestamp_column_is_an_instant_in_utc(self, unit: str, zone: str) -> None:
        """Around every change of the clock in 2024 to 2026, a TIMESTAMP column gives the local day of its instant."""
        there = ZoneInfo(zone)
        start = datetime(2024, 1, 1, tzinfo=UTC)
        instants = [start + timedelta(minutes=37 * step) for step in range(30_000)]
        values = pa.array([one.replace(tzinfo=None) for one in instants], pa.timestamp(unit))
        found = moment(
            {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}[unit], "value"
        )
        assert found is not None
        expected = [one.astimezone(there).date() for one in instants]
        days = days_in_sql(values, found, zone=there)
        assert days == [(day - EARLIEST_DAY).days if day <= TODAY + ONE_DAY else "future" for day in expected]

    def test_timestamps_beyond_every_calendar_are_refused_one_by_one(self) -> None:
        """A timestamp column with values of any size never raises: each is a day or a reason."""
        for kind, unit in (("TIMESTAMP", "us"), ("TIMESTAMP_S", "s"), ("TIMESTAMP WITH TIME ZONE", "us")):
            zone = "UTC" if "ZONE" in kind else None
            values = pa.array([2**63 - 1, -(2**63) + 1, 2**62, 0, None], pa.timestamp(unit, zone))
            found = moment(kind, "value")
            assert found is not None
            days = days_in_sql(values, found, zone=ZoneInfo("Europe/Vienna"))
            assert days[3] == 0
            assert set(days[:3] + days[4:]) <= {"bad_time", "future"}
