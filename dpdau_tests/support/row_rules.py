"""The rules of a row, one row at a time: what engines do over whole columns is compared with this."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from dpdau_assets.core.activity import MAX_ID_BYTES, Reason
from dpdau_assets.core.quantities import EARLIEST_DAY, ONE_DAY
from dpdau_assets.errors import InputError

_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:[.,]\d{1,9})?)?"
    r"(?: ?(?:(Z)|([+-])([01]\d|2[0-3])(?::?([0-5]\d))?))?",
    re.ASCII,
)
_NUMBER = re.compile(r"(-?)(\d{1,14})(?:\.(\d{1,9}))?", re.ASCII)
_SECONDS_LIMIT = 10**11
_MILLISECONDS_LIMIT = 10**14
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_day(value: str | int | float, *, zone: tzinfo) -> date:
    """The day that a written time means.

        time      = date / timestamp / seconds / milliseconds      ; spaces (U+0020) around it are ignored
        date      = YYYY "-" MM "-" DD                             ; that very day, never shifted
        timestamp = date ("T" / " ") hh ":" mm [":" ss [("." / ",") 1*9DIGIT]] [[" "] offset]
        offset    = "Z" / ("+" / "-") hh [[":"] mm]                ; UTC when absent; up to 23:59
        seconds      = ["-"] 1*11DIGIT ["." 1*9DIGIT]              ; since 1970-01-01T00:00:00Z
        milliseconds = ["-"] 12*14DIGIT ["." 1*9DIGIT]

    hh is 00..23, mm and ss are 00..59 (no leap second), digits are ASCII, T and Z are capitals. Timestamps and
    epoch numbers are instants, floored to whole seconds; their day is the local date in `zone`. A number (not
    text) is read by size as its integer part would be written: below 10^11 seconds, below 10^14 milliseconds.

    Args:
        value: What the source holds (sensitive).
        zone: TIMEZONE (public).

    Returns:
        The day; it may lie before 1970 or in the future: `reason_against` judges that (sensitive).

    Raises:
        InputError: The value is none of these or names an impossible date; the message does not repeat it.
    """
    day = _day_of_text(value.strip(" "), zone) if isinstance(value, str) else _day_of_number(value, zone)
    if day is None:
        raise InputError("not a timestamp, date or epoch number", hint="see the README for the forms of a time")
    return day


def reason_against(
    user_id: bytes | None, day: date | None, *, op: str | None, today: date, oldest_day: date = EARLIEST_DAY
) -> Reason | None:
    """Why a row is refused, or `None` when it is accepted.

    It depends on this row and on public limits only, never on other rows: that keeps acceptance out of the
    neighbouring relation.

    Args:
        user_id: Bytes of the id, `None` when missing (sensitive).
        day: What `parse_day` gave, `None` when it refused (sensitive).
        op: "+", "-", or `None` or "" for the default "+" (sensitive).
        today: Today in TIMEZONE; days up to tomorrow are accepted (public).
        oldest_day: The tombstone floor (public).

    Returns:
        One of `REASONS` or `None`.
    """
    if not user_id:
        return "no_user"
    if len(user_id) > MAX_ID_BYTES:
        return "too_long"
    try:
        user_id.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    if day is None or day < EARLIEST_DAY:
        return "bad_time"
    if day > today + ONE_DAY:
        return "future"
    if day < oldest_day:
        return "too_old"
    return None if op in (None, "", "+", "-") else "unknown_op"


def _day_of_text(text: str, zone: tzinfo) -> date | None:
    """The day of a stripped text, `None` when it is outside the grammar."""
    if match := _DATE.fullmatch(text):
        return _date_or_none(text)
    if match := _NUMBER.fullmatch(text):
        sign, digits, fraction = match.groups()
        unit = 1 if len(digits) <= 11 else 1000
        whole = -int(digits) - bool(int(fraction or 0)) if sign else int(digits)
        return _day_of_instant(whole // unit, zone)
    if not (match := _TIMESTAMP.fullmatch(text)):
        return None
    day, hours, minutes, seconds, _utc, sign, offset_hours, offset_minutes = match.groups()
    if (local_day := _date_or_none(day)) is None:
        return None
    since_epoch = (local_day - EARLIEST_DAY).days * 86400 + int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    offset = int(offset_hours or 0) * 3600 + int(offset_minutes or 0) * 60
    return _day_of_instant(since_epoch + offset if sign == "-" else since_epoch - offset, zone)


def _day_of_number(value: float, zone: tzinfo) -> date | None:
    """The day of a number, `None` when it is not finite, too large or a truth value."""
    if isinstance(value, bool) or not math.isfinite(value) or abs(value) >= _MILLISECONDS_LIMIT:
        return None
    unit = 1 if abs(value) < _SECONDS_LIMIT else 1000
    return _day_of_instant(math.floor(value) // unit, zone)


def _day_of_instant(seconds: int, zone: tzinfo) -> date | None:
    """The local date in `zone` of an instant in seconds since 1970, `None` outside the years 1 to 9999."""
    try:
        return (_UNIX_EPOCH + timedelta(seconds=seconds)).astimezone(zone).date()
    except OverflowError:
        return None


def _date_or_none(text: str) -> date | None:
    """The day written `YYYY-MM-DD`, `None` when the calendar has no such day."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
