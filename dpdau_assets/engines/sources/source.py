"""Opens a file as a source: finds its format and the columns that hold an event, or says why it cannot be read.

Belongs here: formats, column choice, file-level failures as one clear line. Does not belong here: what a row means
(`row_sql`), how its rows are streamed (`arrow_rows`). Names in a Parquet schema
may appear in messages, text of a file never does.
"""

from __future__ import annotations

import gzip
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.engines.sources.csv_header import Header, csv_header, whole_compression
from dpdau_assets.engines.sources.text_blocks import BYTE_ORDER_MARK
from dpdau_assets.errors import InputError

SourceFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[SourceFormat, ...] = get_args(SourceFormat)

DEFAULT_USER = "user_id"
DEFAULT_TIMES = ("day", "ts")
"""Usual names of the time. If a row has both, `day` decides, because its meaning does not depend on the zone."""
DEFAULT_OP = "op"

_SUFFIXES: dict[str, SourceFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
PARQUET_MARK = b"PAR1"
_NAMES_SHOWN = 20
_NO_HEADER = Header(())


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a source that hold an event (public: header names).

    Attributes:
        user: The user id.
        times: The day or time; the first that a row fills decides.
        op: The op, `None` when every row is a "+".
    """

    user: str
    times: tuple[str, ...]
    op: str | None


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was found readable, with the columns that will be read (public; the content is sensitive).

    Attributes:
        path: The file.
        label: What messages call it.
        format: Its format.
        columns: The columns to read.
        header: Names of all columns of a CSV or Parquet file in their order; empty for a CSV file of white space only.
        header_record: Number of the record that holds the header of a CSV file.
        delimiter: The character between the fields of a CSV file.
        size_bytes: Size of the file.
    """

    path: Path
    label: str
    format: SourceFormat
    columns: Columns
    header: tuple[str, ...]
    header_record: int
    delimiter: str
    size_bytes: int

    @property
    def is_compressed(self) -> bool:
        """Returns whether the bytes are gzip."""
        return is_compressed(self.path)

    def open_bytes(self) -> IO[bytes]:
        """The content as a stream of bytes, decompressed; for text formats.

        Raises:
            InputError: The file cannot be opened.
        """
        return open_bytes(self.path, self.label)

    def unreadable(self) -> InputError:
        """The error for content that turned out broken while it was read."""
        return InputError(
            f"{self.label} cannot be read as {self.format}: it is truncated or damaged",
            hint="make the file again; nothing of it was recorded",
        )


def column_names(source: Source) -> dict[str, str]:
    """Our name of each column of `source` that is read, by its own name, in the order user, times, op."""
    names = {source.columns.user: "user_raw"}
    for index, name in enumerate(source.columns.times):
        names.setdefault(name, f"time{index}")
    if source.columns.op is not None:
        names.setdefault(source.columns.op, "op_raw")
    return names


def open_source(
    path: Path,
    mapping: ColumnMapping,
    *,
    source_format: str | None = None,
    label: str | None = None,
    is_ids_only: bool = False,
) -> Source:
    """`path` as a source.

    Args:
        path: A regular file (public).
        mapping: Column names to use instead of the usual ones (public).
        source_format: One of `FORMATS`, or None to go by the name and then by the first bytes (public).
        label: What messages call it, None for its name, which may hold an id.
        is_ids_only: Whether the user column is the only one to look for.

    Raises:
        InputError: It is missing, unreadable, a folder, of an unknown format, damaged, or lacks a column.
    """
    size_bytes = _regular_size(path, label or str(path))
    name = label or path.name
    chosen = _chosen_format(path, source_format, name)
    found = _NO_HEADER
    if chosen == "parquet":
        found = Header(_parquet_header(path, name))
    elif chosen == "csv":
        found = csv_header(lambda: open_bytes(path, name), name, wanted=mapping.user or DEFAULT_USER)
    if chosen == "jsonl" or (chosen == "csv" and not found.names):
        columns = _json_columns(mapping)
    else:
        columns = _chosen_columns(_Choice(name, chosen == "parquet", found.names), mapping, is_ids_only=is_ids_only)
    if is_ids_only:
        columns = Columns(columns.user, (), None)
    return Source(path, name, chosen, columns, found.names, found.record, found.delimiter, size_bytes)


def is_compressed(path: Path) -> bool:
    """Returns whether the file's name is that of a gzip file."""
    return path.suffix.lower() == ".gz"


def format_by_name(path: Path) -> SourceFormat | None:
    """The format that the ending of the name stands for, with or without `.gz`; None for any other ending."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return _SUFFIXES.get(next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), ""))


def _regular_size(path: Path, name: str) -> int:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{name} is a directory", hint="name the files in it, for example with /*")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{name} is not a regular file", hint="write its content to a file first")
        with path.open("rb"):
            return status.st_size
    except (OSError, ValueError) as error:
        raise _cannot_open(name, error) from None


def _cannot_open(name: str, error: Exception) -> InputError:
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number).lower() if number else "not a usable name"
    return InputError(f"cannot read {name}: {reason}", hint="check the path and its permissions")


def _chosen_format(path: Path, source_format: str | None, name: str) -> SourceFormat:
    if source_format is not None:
        if source_format not in FORMATS:
            raise InputError(f"unknown format {source_format}", hint=f"use one of {', '.join(FORMATS)}")
        return source_format
    named = format_by_name(path)
    if named is not None:
        return named
    with whole_compression(name), open_bytes(path, name) as stream:
        start = stream.read(64).removeprefix(BYTE_ORDER_MARK).lstrip()
    if start.startswith(PARQUET_MARK):
        return "parquet"
    if start.startswith(b"{"):
        return "jsonl"
    raise InputError(f"cannot tell the format of {name}", hint=f"give --format {'|'.join(FORMATS)}")


def open_bytes(path: Path, name: str) -> IO[bytes]:
    """The content of `path` as a stream of bytes, decompressed; `name` is what messages call it.

    Raises:
        InputError: The file cannot be opened.
    """
    try:
        if is_compressed(path):
            return cast(IO[bytes], gzip.open(path, "rb"))
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _cannot_open(name, error) from None


def _parquet_header(path: Path, name: str) -> tuple[str, ...]:
    if is_compressed(path):
        raise InputError(f"{name} is a Parquet file inside gzip", hint="decompress it first: gunzip FILE")
    try:
        with pq.ParquetFile(path) as file:
            return tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError):
        raise InputError(
            f"{name} is not a whole Parquet file", hint="it may be truncated; make it again, or check --format"
        ) from None


def _json_columns(mapping: ColumnMapping) -> Columns:
    """Returns the columns of JSON lines. Keys may differ between objects, so a missing key is a fault of its row."""
    times = (mapping.time,) if mapping.time else DEFAULT_TIMES
    return Columns(mapping.user or DEFAULT_USER, times, mapping.op or DEFAULT_OP)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The columns to choose from; names in the first line of a text file may be values, so they are never shown."""

    label: str
    has_schema: bool
    header: tuple[str, ...]

    def require(self, name: str, *, option: str) -> None:
        """Refuses the file when it does not have exactly one column `name`."""
        count = self.header.count(name)
        if not count:
            raise InputError(f"{self.label} has no column {name}", hint=f"{self._there_is()}; name one with {option}")
        if count > 1:
            raise InputError(f"{self.label} has several columns {name}", hint=f"rename all but one, or use {option}")

    def _there_is(self) -> str:
        if not self.has_schema:
            fields = f"{len(self.header)} column{'s' if len(self.header) != 1 else ''}"
            return f"its first line, which must hold names, has {fields}"
        more = ", ..." if len(self.header) > _NAMES_SHOWN else ""
        return f"it has: {', '.join(self.header[:_NAMES_SHOWN])[:500]}{more}"


def _chosen_columns(choice: _Choice, mapping: ColumnMapping, *, is_ids_only: bool) -> Columns:
    header, user = choice.header, mapping.user or DEFAULT_USER
    choice.require(user, option="--user-column")
    if is_ids_only:
        return Columns(user, (), None)
    times = (mapping.time,) if mapping.time else tuple(name for name in DEFAULT_TIMES if name in header)
    op = mapping.op or (DEFAULT_OP if DEFAULT_OP in header else None)
    for name in times or (" or ".join(DEFAULT_TIMES),):
        choice.require(name, option="--time-column")
    if op is not None:
        choice.require(op, option="--op-column")
    return Columns(user, times, op)
