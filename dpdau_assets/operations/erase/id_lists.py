"""Reading a list of users to erase: a file in a format of `ingest`, or plain text with one id a line.

Belongs here: which of the two it is, and refusing a list that cannot be taken whole. Does not belong here: what happens
to the ids (`erase.request`). No message shows an id or a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dpdau_assets.core.activity import MAX_ID_BYTES, ColumnMapping
from dpdau_assets.engines.sources.csv_header import whole_compression
from dpdau_assets.engines.sources.source import (
    DEFAULT_USER,
    PARQUET_MARK,
    SourceFormat,
    format_by_name,
    is_compressed,
    open_bytes,
    open_source,
)
from dpdau_assets.engines.sources.text_blocks import BYTE_ORDER_MARK
from dpdau_assets.errors import InputError
from dpdau_assets.operations.session.workspace import Workspace

MAX_LINE_BYTES = MAX_ID_BYTES + 76
"""A longer line is refused without reading the rest of it into memory."""


def read_user_ids(workspace: Workspace, path: Path, *, user_column: str | None = None) -> Iterable[bytes]:
    """The ids in a file; of a file in a format of `ingest` only the user column is read, and no op or time matters.

    Guarantee: a row whose id cannot be read refuses the whole file, since nobody may stay by a slip of the list. Rows
    without any id are left out.

    Args:
        workspace: The open data folder, for its limits of memory.
        path: .csv, .tsv, .jsonl, .ndjson, .json, .parquet or a Parquet file under any name; anything else is plain
            text with one id a line. Text may be compressed (.gz).
        user_column: Column of the ids, None for user_id (public).

    Returns:
        Ids (sensitive); plain text is read while they are taken.

    Raises:
        InputError: The file cannot be used, or a row of it has no usable id.
        StorageError: The memory limit is too small.
    """
    source_format = _table_format(path)
    if source_format is None:
        if user_column is not None:
            raise InputError(
                f"{path.name} is read as plain text, which has no columns", hint="name it .csv, .jsonl or .parquet"
            )
        return _lines_of_file(path)
    source = open_source(path, ColumnMapping(user=user_column), source_format=source_format, is_ids_only=True)
    from dpdau_assets.engines.duckdb.user_ids import (
        user_ids,  # the engines of tables: a list of lines is read without them
    )

    settings = workspace.settings
    found = user_ids(source, memory_limit=settings.duckdb_memory_limit, threads=settings.duckdb_threads)
    for reason, (count, first) in sorted(found.refused.items()):
        if reason != "no_user":
            raise InputError(
                f"{path.name} has {count:,} rows without a usable id, the first ({reason}) in line {first:,}",
                hint="correct them; nobody was erased",
            )
    if not found.ids:
        raise InputError(
            f"no row of {path.name} has an id in {user_column or DEFAULT_USER}",
            hint="name the column with --user-column",
        )
    return found.ids


def ids_of_lines(lines: IO[bytes]) -> Iterator[bytes]:
    """One id a line, without its line end; empty lines and a byte order mark at the start are left out.

    Args:
        lines: Binary, read to its end (sensitive).

    Raises:
        InputError: A line that is too long, or one of several lines that end in carriage returns only.
    """
    number = 0
    while line := lines.readline(MAX_LINE_BYTES):
        number += 1
        name = (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")
        if b"\r" in name:
            raise InputError(
                f"line {number:,} holds a carriage return", hint="end lines with line feeds; nobody was erased"
            )
        if len(line) == MAX_LINE_BYTES:
            raise InputError(f"line {number:,} is longer than {MAX_ID_BYTES:,} bytes", hint="one id a line")
        if name:
            yield name


def _table_format(path: Path) -> SourceFormat | None:
    """The format when it is one of `ingest`; a pipe is plain text, for it can be read once only."""
    if not path.is_file():
        return None
    named = format_by_name(path)
    if named is not None or is_compressed(path):
        return named
    with _readable(path), path.open("rb") as stream:
        return "parquet" if stream.read(len(PARQUET_MARK)) == PARQUET_MARK else None


def _lines_of_file(path: Path) -> Iterator[bytes]:
    if is_compressed(path):
        with whole_compression(path.name), open_bytes(path, path.name) as lines:
            yield from ids_of_lines(lines)
        return
    with _readable(path), path.open("rb") as lines:
        yield from ids_of_lines(lines)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what opening or reading `path` raises into one clear line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "it cannot be read"
        raise InputError(f"cannot read {path}: {reason}", hint="check the path and its permissions") from None
