"""SQL expressions that judge a row: its id, its day, its op and the reason against it.

They apply the rules of `core.activity` to columns; tests compare them with the rules for one row. Expressions are built
only from our own column names and from constants; a value of the data never enters an SQL text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from dpdau_assets.core.activity import MAX_ID_BYTES, REASONS, Reason
from dpdau_assets.core.quantities import EARLIEST_DAY

BLANK = -100
"""The code of a blank line, which does not count as a row."""
NO_INSTANT = "NULL::BIGINT"
ERASING = 1 << 20
"""Added to the block number of a "-" row."""
CODE_OF: dict[Reason, int] = {reason: -1 - index for index, reason in enumerate(REASONS)}
REASON_OF: dict[int, Reason] = {code: reason for reason, code in CODE_OF.items()}

_SHIFT_DAYS = 719_162
"""Added before a division and subtracted after it, because integer division rounds towards zero but days round down."""
_SHIFT_SECONDS = _SHIFT_DAYS * 86_400
_LAST_INSTANT = 253_402_300_799
"""9999-12-31T23:59:59Z."""
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?( ?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?))?"
_DATE_SHAPE = r"\d{4}-\d{2}-\d{2}"
_NUMBER_SHAPE = r"-?\d{1,14}(\.\d{1,9})?"

INTEGER_TYPES = frozenset(
    ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"]
)
NULL_TYPE = '"NULL"'
"""DuckDB's name for the type of a column that has nothing but nulls."""
TIMESTAMP_TYPES = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"})


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as SQL: a day number since 1970, or an instant in whole seconds since 1970; the other is NULL.

    Attributes:
        is_given: SQL truth: the row fills this column.
        day: SQL BIGINT.
        instant: SQL BIGINT.
    """

    is_given: str
    day: str
    instant: str


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def moment(kind: str, column: str) -> Moment | None:
    """The moment in `column` of the DuckDB type `kind`, None when a column of that type is no time."""
    if kind == "VARCHAR":
        return text_moment(column)
    if kind == NULL_TYPE:
        return Moment("false", "NULL::BIGINT", NO_INSTANT)
    if kind == "DATE":
        return date_moment(column)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return _timestamp_moment(column, f"epoch_us({column})")
    if kind in TIMESTAMP_TYPES:
        as_microseconds = column if kind == "TIMESTAMP" else f"TRY_CAST({column} AS TIMESTAMP)"
        return _timestamp_moment(column, f"epoch_us({as_microseconds})")
    if kind in INTEGER_TYPES:
        return _integer_moment(column, f"TRY_CAST({column} AS BIGINT)")
    if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
        return number_moment(column, f"TRY_CAST({column} AS DOUBLE)")
    return None


def date_moment(column: str) -> Moment:
    """The moment in a column of type DATE."""
    day = f"CASE WHEN isfinite({column}) THEN ({column} - DATE '{EARLIEST_DAY}')::BIGINT END"
    return Moment(f"{column} IS NOT NULL", day, NO_INSTANT)


def _timestamp_moment(column: str, microseconds: str) -> Moment:
    finite = f"try(isfinite({column}))"
    shifted = f"(({microseconds} + {_SHIFT_SECONDS}000000) // 1000000 - {_SHIFT_SECONDS})"
    return Moment(f"{column} IS NOT NULL", "NULL::BIGINT", f"CASE WHEN {finite} THEN try({shifted}) END")


def _integer_moment(column: str, value: str) -> Moment:
    instant = (
        f"CASE WHEN {value} BETWEEN -99999999999 AND 99999999999 THEN {value} "
        f"WHEN {value} BETWEEN -99999999999999 AND 99999999999999 "
        f"THEN ({value} + {_SHIFT_SECONDS}000) // 1000 - {_SHIFT_SECONDS} END"
    )
    return Moment(f"{column} IS NOT NULL", "NULL::BIGINT", instant)


def number_moment(column: str, value: str) -> Moment:
    """The moment of a DOUBLE: epoch seconds below 10^11, milliseconds below 10^14."""
    instant = (
        f"CASE WHEN abs({value}) < 1e11 THEN floor({value})::BIGINT "
        f"WHEN abs({value}) < 1e14 THEN floor(floor({value}) / 1000)::BIGINT END"
    )
    return Moment(f"{column} IS NOT NULL", "NULL::BIGINT", instant)


def text_moment(column: str) -> Moment:
    """The moment of a text without spaces around it, by the grammar of `core.activity`."""
    text = column
    day = (
        f"CASE WHEN regexp_full_match({text}, '{_DATE_SHAPE}') "
        f"THEN (TRY_CAST({text} AS DATE) - DATE '{EARLIEST_DAY}')::BIGINT END"
    )
    instant = (
        f"CASE WHEN regexp_full_match({text}, '{_DATE_SHAPE}[T ]{_CLOCK}') THEN {_instant_of_timestamp(text)} "
        f"WHEN regexp_full_match({text}, '{_NUMBER_SHAPE}') THEN {_instant_of_number(text)} END"
    )
    return Moment(f"{column} IS NOT NULL AND {column} <> ''", day, instant)


def _instant_of_timestamp(text: str) -> str:
    clock = f"CASE WHEN substr({text}, 17, 1) = ':' THEN left({text}, 19) ELSE left({text}, 16) || ':00' END"
    base = f"epoch_us(TRY_CAST({clock} AS TIMESTAMP)) // 1000000"
    tail = f"substr({text}, 17)"
    sign_at = f"greatest(strpos({tail}, '+'), strpos({tail}, '-'))"
    offset = f"replace(substr({tail}, {sign_at}), ':', '')"
    minutes = (
        f"(substr({offset}, 2, 2)::BIGINT * 60 "
        f"+ CASE WHEN strlen({offset}) = 5 THEN substr({offset}, 4, 2)::BIGINT ELSE 0 END)"
    )
    signed = f"CASE WHEN {sign_at} = 0 THEN 0 WHEN substr({offset}, 1, 1) = '-' THEN {minutes} ELSE -{minutes} END"
    return f"({base} + 60 * ({signed}))"


def _instant_of_number(text: str) -> str:
    """Returns the instant of a number: its written digits decide the unit; a negative fraction rounds down."""
    digits = f"ltrim(split_part({text}, '.', 1), '-')"
    has_fraction = f"(TRY_CAST(split_part({text}, '.', 2) AS BIGINT) > 0)"
    whole = (
        f"CASE WHEN starts_with({text}, '-') THEN -({digits}::BIGINT) "
        f"- CASE WHEN {has_fraction} THEN 1 ELSE 0 END ELSE {digits}::BIGINT END"
    )
    milliseconds = f"(({whole}) + {_SHIFT_SECONDS}000) // 1000 - {_SHIFT_SECONDS}"
    return f"(CASE WHEN strlen({digits}) <= 11 THEN {whole} ELSE {milliseconds} END)"


def first_given(moments: tuple[Moment, ...], part: str) -> str:
    """The `part` (`day` or `instant`) of the first moment that the row fills."""
    whens = " ".join(f"WHEN {one.is_given} THEN {getattr(one, part)}" for one in moments)
    return f"CASE {whens} END" if whens else "NULL::BIGINT"


def local_day(*, has_zone: bool) -> str:
    """SQL: the day number of a row with columns day_number and instant (and the zone's columns)."""
    shift = "CASE WHEN instant < zone.change THEN zone.before ELSE zone.after END" if has_zone else "0"
    shifted = f"(instant + coalesce({shift}, 0) + {_SHIFT_SECONDS}) // 86400 - {_SHIFT_DAYS}"
    return f"coalesce(day_number, CASE WHEN instant <= {_LAST_INSTANT} THEN {shifted} END)"


def utc_day() -> str:
    """SQL: the UTC day number of column instant."""
    return f"((instant + {_SHIFT_SECONDS}) // 86400 - {_SHIFT_DAYS})"


def verdict(last_day: date, *, oldest_day: date, alignment: int) -> str:
    """SQL INTEGER: the block of 64 days an accepted row belongs to, or the negative code of the reason against it.

    Columns: fault, user_id, op, local_day. Reasons are tried in the order of `core.activity.REASONS`.

    Args:
        last_day: Last day accepted (public).
        oldest_day: First day accepted (public).
        alignment: Added to the day number before it is divided into blocks, 0..63.
    """
    return (
        f"(CASE WHEN fault IS NOT NULL THEN fault "
        f"WHEN user_id IS NULL OR user_id = '' THEN {CODE_OF['no_user']} "
        f"WHEN strlen(user_id) > {MAX_ID_BYTES} THEN {CODE_OF['too_long']} "
        f"WHEN local_day IS NULL OR local_day < 0 THEN {CODE_OF['bad_time']} "
        f"WHEN local_day > {(last_day - EARLIEST_DAY).days} THEN {CODE_OF['future']} "
        f"WHEN local_day < {(oldest_day - EARLIEST_DAY).days} THEN {CODE_OF['too_old']} "
        f"WHEN op IS NULL OR op = '+' OR op = '' THEN (local_day + {alignment}) >> 6 "
        f"WHEN op = '-' THEN {ERASING} + ((local_day + {alignment}) >> 6) "
        f"ELSE {CODE_OF['unknown_op']} END)::INTEGER"
    )


def day_bit(alignment: int) -> str:
    """SQL UBIGINT: the bit of column local_day within its block."""
    return f"(1::UBIGINT << ((local_day + {alignment}) & 63)::UTINYINT)"
