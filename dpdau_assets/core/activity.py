"""Defines which columns of a source hold an event, and why a row may be refused.

Every engine finds the day of a row by this grammar of written times:

    time      = date / timestamp / seconds / milliseconds      ; spaces (U+0020) around it are ignored
    date      = YYYY "-" MM "-" DD                             ; that very day, never shifted
    timestamp = date ("T" / " ") hh ":" mm [":" ss [("." / ",") 1*9DIGIT]] [[" "] offset]
    offset    = "Z" / ("+" / "-") hh [[":"] mm]                ; UTC when absent; up to 23:59
    seconds      = ["-"] 1*11DIGIT ["." 1*9DIGIT]              ; since 1970-01-01T00:00:00Z
    milliseconds = ["-"] 12*14DIGIT ["." 1*9DIGIT]

hh is 00..23, mm and ss are 00..59 (no leap second), digits are ASCII, T and Z are capitals. Timestamps and
epoch numbers are instants, floored to whole seconds; their day is the local date in `zone`. A number (not
text) is read by size as its integer part would be written: below 10^11 seconds, below 10^14 milliseconds.

Does not belong here: judging rows, which the engines do a column at a time; their tests compare them with the same
rules for one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_ID_BYTES = 1024
"""Longest user id, in bytes of UTF-8."""

Reason = Literal["no_user", "too_long", "not_utf8", "bad_time", "future", "too_old", "unknown_op", "malformed"]
REASONS: tuple[Reason, ...] = (
    "no_user",  # no id, or an empty one
    "too_long",  # an id of more than MAX_ID_BYTES bytes
    "not_utf8",  # an id that is not UTF-8
    "bad_time",  # no time, one outside the grammar above, or a day before 1970-01-01
    "future",  # a day after tomorrow in TIMEZONE
    "too_old",  # a day before the tombstone floor: an erased user could no longer be recognised there
    "unknown_op",  # an op other than "+" and "-"
    "malformed",  # a line that is not a record at all
)
"""Why a row is refused. A row with several faults counts once, under the first of these that applies."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """Which columns of a source hold an event; `None` means: find it by the usual names (public).

    Attributes:
        user: Column of the user id.
        time: Column of the day or time.
        op: Column of the op; a source without one holds "+" only.
    """

    user: str | None = None
    time: str | None = None
    op: str | None = None
