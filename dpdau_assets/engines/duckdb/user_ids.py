"""The user column of a source as a list of ids, whatever its format.

Belongs here: lists of people without days, as for an erasure. Does not belong here: plain text, events
(`duckdb`). Ids are judged by the same rules as those of events. They exist in memory only: the connection has no
temporary directory, so it cannot spill.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from dpdau_assets.core.activity import MAX_ID_BYTES, Reason
from dpdau_assets.engines.duckdb.relations import ARROW_VIEW, json_rows, table_rows
from dpdau_assets.engines.duckdb.row_sql import BLANK, CODE_OF, REASON_OF
from dpdau_assets.engines.sources.arrow_rows import ArrowRows
from dpdau_assets.engines.sources.source import Source
from dpdau_assets.errors import StorageError

_GOOD = 0
_CODE = (
    f"CASE WHEN fault IS NOT NULL THEN fault WHEN user_id IS NULL OR user_id = '' THEN {CODE_OF['no_user']} "
    f"WHEN strlen(user_id) > {MAX_ID_BYTES} THEN {CODE_OF['too_long']} ELSE {_GOOD} END::INTEGER"
)


@dataclass(frozen=True, slots=True, repr=False)
class UserIds:
    """The content of the user column (sensitive; prints as nothing).

    Attributes:
        ids: Distinct ids as UTF-8, in no stated order.
        refused: Rows without a usable id and the first of their numbers, by reason.
    """

    ids: list[bytes]
    refused: dict[Reason, tuple[int, int]]


def user_ids(source: Source, *, memory_limit: str, threads: int | None = None) -> UserIds:
    """Returns the ids of `source`, each once; its other columns are not read.

    Args:
        source: Opened with `is_ids_only` (sensitive content).
        memory_limit: DuckDB's memory limit, such as `1GB`.
        threads: DuckDB's threads; None lets DuckDB decide.

    Raises:
        InputError: The file is damaged, or the column has a type that holds no id.
        StorageError: `memory_limit` is too small.
    """
    config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit, "temp_directory": ""}
    if threads is not None:
        config["threads"] = threads
    with duckdb.connect(":memory:", config=config) as connection:
        connection.execute("SET enable_progress_bar = false")
        try:
            rows = _grouped(connection, source)
        except duckdb.OutOfMemoryException:
            raise StorageError(
                f"the ids do not fit into DUCKDB_MEMORY_LIMIT={memory_limit}",
                hint="raise it in .env, or split the file",
            ) from None
        except duckdb.Error:
            raise source.unreadable() from None
    refused = {REASON_OF[code]: (count, first) for _, code, count, first in rows if code not in (_GOOD, BLANK)}
    return UserIds([user.encode() for user, code, *_ in rows if code == _GOOD], refused)


def _grouped(connection: duckdb.DuckDBPyConnection, source: Source) -> list[tuple[str, int, int, int]]:
    """Rows of (id or null, code, rows, first number)."""
    connection.register(ARROW_VIEW, ArrowRows(source, lambda _done, _total: None).reader())
    is_json = source.format == "jsonl"
    relation = json_rows(source) if is_json else table_rows(source, f"SELECT * FROM {ARROW_VIEW}", connection)
    coded = f"SELECT number, user_id, {_CODE} AS code FROM ({relation.sql})"
    good = f"CASE WHEN code = {_GOOD} THEN user_id END"
    return connection.execute(
        f"SELECT {good} AS good_id, code, count(*), min(number) FROM ({coded}) GROUP BY 1, 2"
    ).fetchall()
