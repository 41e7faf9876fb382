"""Opens a file as a source: its format, the columns that hold an event, and what is wrong with it as a whole.

Belongs here: formats, column choice, file-level failures as one clear line. Does not belong here: what a row means
(`row_sql`), how its rows are streamed (`arrow_rows`). Header names may appear in messages, values never do.
"""

from __future__ import annotations

import csv
import gzip
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.engines.text_blocks import BYTE_ORDER_MARK, MAX_LINE_BYTES
from dpdau_assets.errors import InputError

SourceFormat = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[SourceFormat, ...] = get_args(SourceFormat)

DEFAULT_USER = "user_id"
DEFAULT_TIMES = ("day", "ts")
"""Usual names of the time; where a row has both, `day` decides: it says what was meant, whatever the zone."""
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
_DELIMITERS = (",", ";", "\t")
_NAMES_SHOWN = 20
_UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading bytes can raise; `gzip.BadGzipFile` is an OSError."""


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
        format: Its format.
        columns: The columns to read.
        header: Names of all columns of a CSV or Parquet file in their order.
        delimiter: Between the fields of a CSV file.
        size_bytes: Size of the file.
    """

    path: Path
    format: SourceFormat
    columns: Columns
    header: tuple[str, ...]
    delimiter: str
    size_bytes: int

    @property
    def is_compressed(self) -> bool:
        """Whether the bytes are gzip."""
        return self.path.suffix == ".gz"

    def open_bytes(self) -> IO[bytes]:
        """The content as a stream of bytes, decompressed; for text formats.

        Raises:
            InputError: The file cannot be opened.
        """
        return _open_bytes(self.path)

    def unreadable(self) -> InputError:
        """The error for content that turned out broken while it was read."""
        return InputError(
            f"{self.path.name} cannot be read as {self.format}: it is truncated or damaged",
            hint="make the file again; nothing of it was recorded",
        )


def open_source(path: Path, mapping: ColumnMapping, *, source_format: str | None = None) -> Source:
    """`path` as a source.

    Args:
        path: A regular file (public).
        mapping: Column names to use instead of the usual ones (public).
        source_format: One of `FORMATS`, or None to go by the name and then by the first bytes (public).

    Raises:
        InputError: It is missing, unreadable, a folder, of an unknown format, damaged, or lacks a column.
    """
    size_bytes = _regular_size(path)
    chosen = _chosen_format(path, source_format)
    if chosen == "parquet":
        header, delimiter = _parquet_header(path), ""
    elif chosen == "csv":
        header, delimiter = _csv_header(path, mapping)
    else:
        header, delimiter = (), ""
    is_empty_text = chosen == "csv" and not header
    columns = _json_columns(mapping) if chosen == "jsonl" or is_empty_text else _chosen_columns(path, mapping, header)
    return Source(path, chosen, columns, header, delimiter, size_bytes)


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a directory", hint="name the files in it, for example with /*")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file", hint="write its content to a file first")
        with path.open("rb"):
            return status.st_size
    except (OSError, ValueError) as error:
        raise _cannot_open(path, error) from None


def _cannot_open(path: Path, error: Exception) -> InputError:
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number).lower() if number else "not a usable name"
    return InputError(f"cannot read {path}: {reason}", hint="check the path and its permissions")


def _chosen_format(path: Path, source_format: str | None) -> SourceFormat:
    if source_format is not None:
        if source_format not in FORMATS:
            raise InputError(f"unknown format {source_format}", hint=f"use one of {', '.join(FORMATS)}")
        return source_format
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    start = _first_bytes(path, 64).removeprefix(BYTE_ORDER_MARK).lstrip()
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"{"):
        return "jsonl"
    raise InputError(f"cannot tell the format of {path.name}", hint=f"give --format {'|'.join(FORMATS)}")


def _open_bytes(path: Path) -> IO[bytes]:
    try:
        if path.suffix == ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _cannot_open(path, error) from None


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with _open_bytes(path) as stream:
            return stream.read(count)
    except _UNREADABLE:
        raise InputError(f"{path.name} is not readable as a compressed file", hint="check how it was made") from None


def _parquet_header(path: Path) -> tuple[str, ...]:
    try:
        with pq.ParquetFile(path) as file:
            return tuple(file.schema_arrow.names)
    except (pa.ArrowException, OSError):
        raise InputError(
            f"{path.name} is not a whole Parquet file", hint="it may be truncated; make it again, or check --format"
        ) from None


def _csv_header(path: Path, mapping: ColumnMapping) -> tuple[tuple[str, ...], str]:
    """Names and delimiter in the first record; the delimiter is the one that shows the user column."""
    start = _first_bytes(path, MAX_LINE_BYTES).removeprefix(BYTE_ORDER_MARK)
    line = start.split(b"\n", 1)[0].rstrip(b"\r")
    if not start.strip():
        return (), ","
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"the header of {path.name} is not UTF-8", hint="convert the file to UTF-8") from None
    headers = {delimiter: _split_header(text, delimiter) for delimiter in _DELIMITERS}
    wanted = mapping.user or DEFAULT_USER
    fitting = [delimiter for delimiter in _DELIMITERS if wanted in headers[delimiter] and len(headers[delimiter]) > 1]
    delimiter = fitting[0] if fitting else max(_DELIMITERS, key=lambda one: len(headers[one]))
    return headers[delimiter], delimiter


def _split_header(text: str, delimiter: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([text], delimiter=delimiter), []))
    except csv.Error:
        return ()


def _json_columns(mapping: ColumnMapping) -> Columns:
    """JSON objects need not have the same keys, so a missing one is a matter of the row."""
    times = (mapping.time,) if mapping.time else DEFAULT_TIMES
    return Columns(mapping.user or DEFAULT_USER, times, mapping.op or DEFAULT_OP)


def _chosen_columns(path: Path, mapping: ColumnMapping, header: tuple[str, ...]) -> Columns:
    user = mapping.user or DEFAULT_USER
    times = (mapping.time,) if mapping.time else tuple(name for name in DEFAULT_TIMES if name in header)
    op = mapping.op or (DEFAULT_OP if DEFAULT_OP in header else None)
    _require(path, header, user, option="--user-column")
    if not times:
        _require(path, header, " or ".join(DEFAULT_TIMES), option="--time-column")
    for name in times:
        _require(path, header, name, option="--time-column")
    if op is not None:
        _require(path, header, op, option="--op-column")
    return Columns(user, times, op)


def _require(path: Path, header: tuple[str, ...], name: str, *, option: str) -> None:
    shown = ", ".join(header[:_NAMES_SHOWN]) + (", ..." if len(header) > _NAMES_SHOWN else "")
    if name not in header:
        raise InputError(f"{path.name} has no column {name}", hint=f"it has: {shown[:500]}; name one with {option}")
    if header.count(name) > 1:
        raise InputError(f"{path.name} has several columns {name}", hint=f"rename all but one, or use {option}")
