"""The grammar of times and the reasons against a row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from dpdau_assets.core.activity import MAX_ID_BYTES, REASONS
from dpdau_assets.errors import InputError
from dpdau_tests.support.row_rules import parse_day, reason_against

TOKYO = ZoneInfo("Asia/Tokyo")
NEW_YORK = ZoneInfo("America/New_York")
TODAY = date(2026, 3, 1)

TIMES = [  # text, day in UTC, day in Tokyo, day in New York
    ("2026-03-01", "2026-03-01", "2026-03-01", "2026-03-01"),
    (" 2026-03-01  ", "2026-03-01", "2026-03-01", "2026-03-01"),
    ("2026-03-01T00:00:00", "2026-03-01", "2026-03-01", "2026-02-28"),
    ("2026-03-01 15:00:00", "2026-03-01", "2026-03-02", "2026-03-01"),
    ("2026-03-01T14:59:59.999999999Z", "2026-03-01", "2026-03-01", "2026-03-01"),
    ("2026-03-01 23:59", "2026-03-01", "2026-03-02", "2026-03-01"),
    ("2026-03-01T00:00:00+02", "2026-02-28", "2026-03-01", "2026-02-28"),
    ("2026-03-01T00:00:00+0200", "2026-02-28", "2026-03-01", "2026-02-28"),
    ("2026-03-01 00:00:00 +02:00", "2026-02-28", "2026-03-01", "2026-02-28"),
    ("2026-03-01T23:30:00,5-0030", "2026-03-02", "2026-03-02", "2026-03-01"),
    ("2024-02-29T12:00:00Z", "2024-02-29", "2024-02-29", "2024-02-29"),
    ("0", "1970-01-01", "1970-01-01", "1969-12-31"),
    ("-1", "1969-12-31", "1970-01-01", "1969-12-31"),
    ("-0.5", "1969-12-31", "1970-01-01", "1969-12-31"),
    ("-0.0", "1970-01-01", "1970-01-01", "1969-12-31"),
    ("1772323199.999", "2026-02-28", "2026-03-01", "2026-02-28"),
    ("1772323200", "2026-03-01", "2026-03-01", "2026-02-28"),
    ("1772323199999", "2026-02-28", "2026-03-01", "2026-02-28"),
    ("1772323200000.0", "2026-03-01", "2026-03-01", "2026-02-28"),
    ("99999999999", "5138-11-16", "5138-11-16", "5138-11-16"),
    ("100000000000", "1973-03-03", "1973-03-03", "1973-03-03"),
    ("00000000000001", "1970-01-01", "1970-01-01", "1969-12-31"),
]

REFUSED = [
    "",
    " ",
    "now",
    "NaN",
    "2026-3-1",
    "2026/03/01",
    "01.03.2026",
    "2026-02-29",
    "2026-13-01",
    "2026-00-10",
    "0000-01-01",
    "2026-03-01T24:00:00",
    "2026-03-01T23:60:00",
    "2026-03-01T23:59:60",
    "2026-03-01t10:00:00",
    "2026-03-01  10:00:00",
    "2026-03-01T10:00:00z",
    "2026-03-01T10:00:00.Z",
    "2026-03-01T10:00:00.1234567890",
    "2026-03-01T10:00:00  +02:00",
    "2026-03-01T10:00:00+2",
    "2026-03-01T10:00:00+24:00",
    "2026-03-01T10:00:00+02:60",
    "2026-03-01T10",
    "2026-03-01Z",
    "2026-03-01 \n",
    "\t2026-03-01",
    "2026-03-01\n",
    "２０２６-03-01",
    "١٧٧٢٣٢٣٢٠٠",
    "1e9",
    "+5",
    "1.",
    ".5",
    "--5",
    "1 772 323 200",
    "100000000000000",
    "-99999999999",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
]


class TestParseDay:
    @pytest.mark.parametrize(("text", "utc", "tokyo", "new_york"), TIMES)
    def test_the_day_of_a_written_time(self, text: str, utc: str, tokyo: str, new_york: str) -> None:
        """A date is that very day; everything else is an instant whose day is read in TIMEZONE."""
        days = [parse_day(text, zone=zone).isoformat() for zone in (UTC, TOKYO, NEW_YORK)]
        assert days == [utc, tokyo, new_york]

    @pytest.mark.parametrize("text", REFUSED)
    def test_everything_outside_the_grammar_is_refused_without_being_repeated(self, text: str) -> None:
        """A refused text raises our own error, whose words do not hold the text."""
        with pytest.raises(InputError) as caught:
            parse_day(text, zone=UTC)
        assert not text.strip() or text not in f"{caught.value.message} {caught.value.hint}"

    def test_instants_agree_with_the_standard_library(self) -> None:
        """Over the year, by odd steps, text with an offset, seconds and milliseconds all give the library's day."""
        instant = datetime(2025, 12, 25, 1, 2, 3, tzinfo=UTC)
        for step in range(2000):
            offset = timezone(timedelta(minutes=(step * 37) % 1439 - 719))
            seconds = int(instant.timestamp())
            for zone in (TOKYO, NEW_YORK, ZoneInfo("Australia/Lord_Howe")):
                expected = instant.astimezone(zone).date()
                assert parse_day(instant.astimezone(offset).isoformat(), zone=zone) == expected
                assert parse_day(str(seconds), zone=zone) == expected
                assert parse_day(seconds * 1000 + 999, zone=zone) == expected
                assert parse_day(seconds + 0.75, zone=zone) == expected
            instant += timedelta(hours=4, minutes=23, seconds=29)

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e14, -1e14, 10**14, True, -(10**11 - 1)])
    def test_numbers_that_are_no_time_are_refused(self, number: float) -> None:
        """Not finite, 15 digits or more, a truth value, or before the year 1."""
        with pytest.raises(InputError):
            parse_day(number, zone=UTC)

    def test_numbers_turn_from_seconds_to_milliseconds_at_twelve_digits(self) -> None:
        """A number is read as its integer part would be written."""
        assert parse_day(99_999_999_999, zone=UTC) == parse_day("99999999999", zone=UTC)
        assert parse_day(100_000_000_000, zone=UTC) == parse_day("100000000000", zone=UTC) == date(1973, 3, 3)
        assert parse_day(-100_000_000_000, zone=UTC) == date(1966, 10, 31)


class TestReasonAgainst:
    @pytest.mark.parametrize(
        ("user_id", "day", "op", "reason"),
        [
            (b"u", TODAY, None, None),
            (b"u", TODAY, "", None),
            (b"u", TODAY, "+", None),
            (b"u", TODAY, "-", None),
            (b"u", TODAY + timedelta(days=1), "+", None),
            (b"u", date(2020, 1, 1), "+", None),
            (b" ", TODAY, "+", None),
            (b"\x00", TODAY, "+", None),
            ("é".encode() * 512, TODAY, "+", None),
            (None, TODAY, "+", "no_user"),
            (b"", None, "?", "no_user"),
            ("é".encode() * 512 + b"x", TODAY, "+", "too_long"),
            (b"\xff" * (MAX_ID_BYTES + 1), TODAY, "+", "too_long"),
            (b"\xff\xfe", TODAY, "+", "not_utf8"),
            (b"\xed\xa0\x80", TODAY, "+", "not_utf8"),
            (b"u", None, "+", "bad_time"),
            (b"u", date(1969, 12, 31), "+", "bad_time"),
            (b"u", TODAY + timedelta(days=2), "+", "future"),
            (b"u", date(2019, 12, 31), "+", "too_old"),
            (b"u", TODAY, "delete", "unknown_op"),
            (b"u", None, "delete", "bad_time"),
        ],
    )
    def test_first_reason_that_applies(
        self, user_id: bytes | None, day: date | None, op: str | None, reason: str | None
    ) -> None:
        """A row is refused for the first reason that applies, or accepted; limits themselves are accepted."""
        assert reason_against(user_id, day, op=op, today=TODAY, oldest_day=date(2020, 1, 1)) == reason
        assert reason is None or reason in REASONS

    def test_1970_is_the_oldest_day_by_default(self) -> None:
        """Without a tombstone floor every day since 1970-01-01 is accepted."""
        assert reason_against(b"u", date(1970, 1, 1), op=None, today=TODAY) is None
