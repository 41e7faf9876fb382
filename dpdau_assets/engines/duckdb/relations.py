"""A source as an SQL relation: one row per record with columns number, fault, user_id, op, day_number, instant.

Belongs here: how each format's columns become those six. Does not belong here: the expressions themselves (`row_sql`)
and what is made of the rows (`duckdb`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import escape

import duckdb

from dpdau_assets.core.activity import MAX_ID_BYTES
from dpdau_assets.engines.duckdb.row_sql import (
    BLANK,
    CODE_OF,
    INTEGER_TYPES,
    NO_INSTANT,
    NULL_TYPE,
    Moment,
    first_given,
    literal,
    local_day,
    moment,
    number_moment,
    quoted,
    text_moment,
    utc_day,
)
from dpdau_assets.engines.sources.source import Source, column_names
from dpdau_assets.errors import InputError

ARROW_VIEW = "arrow_rows"
ZONE_VIEW = "zone_days"


@dataclass(frozen=True, slots=True)
class Relation:
    """One row per record with number, fault, user_id, op, day_number, instant (public: SQL of our own).

    Attributes:
        sql: A SELECT.
        has_instants: Whether any row can have an instant; else the zone does not matter.
        is_fault_free: Whether fault is NULL in every row.
    """

    sql: str
    has_instants: bool
    is_fault_free: bool


def coded_rows(relation: Relation, verdict: str, *, has_zone: bool) -> str:
    """A SELECT of number, user_id, local_day and code, which is `verdict` (see `row_sql.verdict`)."""
    needs_zone = has_zone and relation.has_instants
    zone = f" LEFT JOIN {ZONE_VIEW} AS zone ON zone.utc_day = {utc_day()}" if needs_zone else ""
    dated = (
        f"SELECT number, fault, user_id, op, {local_day(has_zone=needs_zone)} AS local_day "
        f"FROM ({relation.sql}) AS source_rows{zone}"
    )
    return f"SELECT number, user_id, local_day, {verdict} AS code FROM ({dated})"


_JSON_TRIMMED = "trim(text, E' \\t\\r\\n')"
_JSON_FAULT = (
    f"CASE WHEN is_too_long THEN {CODE_OF['too_long']} "
    f"WHEN text IS NULL THEN {CODE_OF['not_utf8']} "
    f"WHEN fields IS NULL THEN CASE WHEN {_JSON_TRIMMED} = '' THEN {BLANK} ELSE {CODE_OF['malformed']} END "
    f"WHEN user_json IS NULL THEN CASE WHEN NOT starts_with({_JSON_TRIMMED}, '{{') THEN {CODE_OF['malformed']} END "
    f"WHEN NOT starts_with(user_json, '\"') AND NOT regexp_full_match(user_json, '-?[0-9]+') "
    f"THEN {CODE_OF['malformed']} END::TINYINT"
)
_JSON_USER = "CASE WHEN starts_with(user_json, '\"') THEN user_json::JSON ->> '$' ELSE user_json END"
_JSON_OP = (
    "CASE WHEN op_json IS NULL THEN NULL WHEN starts_with(op_json, '\"') THEN op_json::JSON ->> '$' ELSE 'not text' END"
)


def parquet_scan(source: Source) -> str:
    """DuckDB's own scan of a Parquet file under our column names."""
    path = literal(escape(str(source.path.absolute())))
    chosen = ", ".join(f"{quoted(name)} AS {own}" for name, own in column_names(source).items())
    scan = f"read_parquet({path}, file_row_number = true, hive_partitioning = false, union_by_name = false)"
    return f"SELECT file_row_number + 1 AS number, NULL::TINYINT AS fault, {chosen} FROM {scan}"


def can_scan_directly(source: Source) -> bool:
    """Returns whether DuckDB finds the columns by name: it does not distinguish upper case from lower case."""
    folded = [name.lower() for name in source.header]
    needed = [name.lower() for name in column_names(source)]
    return all(folded.count(name) == 1 for name in needed) and "file_row_number" not in folded


def table_rows(source: Source, scan: str, connection: duckdb.DuckDBPyConnection) -> Relation:
    """The relation over `scan`, which has number, fault, user_raw, time0.., op_raw in any types.

    Raises:
        InputError: A column has a type that holds no id or no time.
    """
    kinds = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE {scan}").fetchall()}
    own = column_names(source)
    user_id, fault = _user_values(source, kinds["user_raw"])
    op = own[source.columns.op] if source.columns.op is not None else None
    values = [f"{fault} AS fault", f"{user_id} AS user_id", f"{_op_value(op, kinds[op]) if op else 'NULL'} AS op"]
    moments = []
    for index, name in enumerate(source.columns.times):
        kind = kinds[own[name]]
        values.append(f"{_time_value(own[name], kind)} AS moment{index}")
        moments.append(_time_moment(source, index, kind))
    is_fault_free = fault == "fault" and scan == parquet_scan(source)
    return _six_columns(f"SELECT number, {', '.join(values)} FROM ({scan})", moments, is_fault_free=is_fault_free)


def json_rows(source: Source) -> Relation:
    """The relation over JSON lines, which come as columns number, is_too_long and line.

    An id is a string or a whole number; an id of another type makes the row malformed, as do a broken line and one that
    is no object. Numbers as times are judged by value, strings by the grammar of text.
    """
    columns = source.columns
    paths = ", ".join(literal(_json_pointer(name)) for name in (columns.user, columns.op or "", *columns.times))
    text = f"SELECT number, is_too_long, try(decode(line)) AS text FROM {ARROW_VIEW}"
    fields = f"SELECT number, is_too_long, text, try(json_extract(text, [{paths}])) AS fields FROM ({text})"
    names = ["user_json", "op_json", *(f"json{index}" for index in range(len(columns.times)))]
    split = ", ".join(_json_field(index + 1, name) for index, name in enumerate(names))
    rows = f"SELECT number, is_too_long, text, fields, {split} FROM ({fields})"
    values = [f"{_JSON_FAULT} AS fault", f"{_JSON_USER} AS user_id", f"{_JSON_OP} AS op"]
    for index in range(len(columns.times)):
        name = f"json{index}"
        values.append(f"CASE WHEN starts_with({name}, '\"') THEN trim({name}::JSON ->> '$', ' ') END AS moment{index}")
        values.append(f"CASE WHEN NOT starts_with({name}, '\"') THEN {name} END AS number{index}")
    moments = [_json_moment(index) for index in range(len(columns.times))]
    return _six_columns(f"SELECT number, {', '.join(values)} FROM ({rows})", moments, is_fault_free=False)


def _json_pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _json_field(position: int, name: str) -> str:
    """One extracted value as JSON text; a JSON null is a missing value."""
    return f"nullif(fields[{position}]::VARCHAR, 'null') AS {name}"


def _json_moment(index: int) -> Moment:
    text = text_moment(f"moment{index}")
    number = number_moment(f"number{index}", f"TRY_CAST(number{index} AS DOUBLE)")
    given = f"(({text.is_given}) OR number{index} IS NOT NULL)"
    return Moment(given, text.day, f"CASE WHEN number{index} IS NOT NULL THEN {number.instant} ELSE {text.instant} END")


def _six_columns(inner: str, moments: Sequence[Moment], *, is_fault_free: bool) -> Relation:
    day, instant = first_given(tuple(moments), "day"), first_given(tuple(moments), "instant")
    sql = f"SELECT number, fault, user_id, op, {day} AS day_number, {instant} AS instant FROM ({inner})"
    return Relation(sql, any(one.instant != NO_INSTANT for one in moments), is_fault_free)


def _user_values(source: Source, kind: str) -> tuple[str, str]:
    """SQL of the id and of the fault: an id whose bytes are not UTF-8 is one."""
    if kind == "BLOB":
        not_utf8 = (
            f"CASE WHEN octet_length(user_raw) > {MAX_ID_BYTES} THEN {CODE_OF['too_long']} "
            f"WHEN user_raw IS NOT NULL AND try(decode(user_raw)) IS NULL THEN {CODE_OF['not_utf8']} END"
        )
        return "try(decode(user_raw))", f"coalesce(fault, {not_utf8})"
    is_integral = kind in INTEGER_TYPES or (kind.startswith("DECIMAL") and kind.endswith(",0)"))
    if kind == NULL_TYPE:
        return "NULL::VARCHAR", "fault"
    if kind in ("VARCHAR", "UUID") or kind.startswith("ENUM") or is_integral:
        return "user_raw::VARCHAR", "fault"
    raise _wrong_type(source, source.columns.user, kind, wanted="a user id is text or a whole number")


def _time_value(name: str, kind: str) -> str:
    if kind == "BLOB":
        return f"trim(try(decode({name})), ' ')"
    return f"trim({name}::VARCHAR, ' ')" if kind == "VARCHAR" or kind.startswith("ENUM") else name


def _time_moment(source: Source, index: int, kind: str) -> Moment:
    is_text = kind == "BLOB" or kind.startswith("ENUM")
    found = moment("VARCHAR" if is_text else kind, f"moment{index}")
    if found is None:
        wanted = "a time is text, a date, a timestamp or epoch seconds or milliseconds"
        raise _wrong_type(source, source.columns.times[index], kind, wanted=wanted)
    return found


def _op_value(name: str, kind: str) -> str:
    if kind == "BLOB":
        return f"CASE WHEN octet_length({name}) > 0 THEN coalesce(try(decode({name})), 'not text') END"
    return f"{name}::VARCHAR"


def _wrong_type(source: Source, column: str, kind: str, *, wanted: str) -> InputError:
    return InputError(
        f"column {column} of {source.label} has type {kind.split('(')[0]}: {wanted}",
        hint="convert the column, or name another one",
    )
