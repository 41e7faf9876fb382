"""Finds the header of a CSV file, its names and the delimiter, or says why it cannot be used.

Belongs here: reading the first lines of a CSV file. Does not belong here: which columns are read (`sources`), records
(`csv_rows`). A file without a header begins with values, so no message shows any of its text.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from dpdau_assets.engines.sources.text_blocks import BYTE_ORDER_MARK, MAX_LINE_BYTES
from dpdau_assets.errors import InputError

_DELIMITERS = (",", ";", "\t")
_QUOTED = re.compile(b'"[^"]*"')


@dataclass(frozen=True, slots=True)
class Header:
    """Names of columns.

    Attributes:
        names: All columns in their order; empty when the file holds nothing but white space.
        record: Number of the record that holds them.
        delimiter: Between fields.
    """

    names: tuple[str, ...]
    record: int = 1
    delimiter: str = ""


@contextmanager
def whole_compression(label: str) -> Iterator[None]:
    """Turns the errors of reading a broken compressed file into one clear line.

    Raises:
        InputError: The block could not read the file.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{label} is not readable as a compressed file", hint="check how it was made") from None


def csv_header(open_content: Callable[[], IO[bytes]], label: str, *, wanted: str) -> Header:
    """The first record that is not blank.

    Args:
        open_content: Opens the decompressed content (sensitive).
        label: What messages call the file (public).
        wanted: Name of the user column, which tells the delimiter (public).

    Raises:
        InputError: It is no header: not UTF-8, without line feeds, too long, or with a quote that never closes.
    """
    with whole_compression(label), open_content() as stream:
        record, line = _first_line(stream)
    if b"\r" in _QUOTED.sub(b"", line):
        raise InputError(
            f"the first line of {label} holds carriage returns: its lines do not end in line feeds",
            hint="convert it, for example: tr '\\r' '\\n' < OLD.csv > NEW.csv",
        )
    if len(line) >= MAX_LINE_BYTES:
        raise InputError(f"the header of {label} is longer than 1 MiB", hint="check that its lines end in line feeds")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"the header of {label} is not UTF-8", hint="convert the file to UTF-8") from None
    if not text:
        return Header((), delimiter=",")
    headers = {delimiter: _split(text, delimiter) for delimiter in _DELIMITERS}
    fitting = [one for one in _DELIMITERS if wanted in headers[one] and len(headers[one]) > 1]
    delimiter = fitting[0] if fitting else max(_DELIMITERS, key=lambda one: len(headers[one]))
    if not headers[delimiter]:
        raise InputError(f"the header of {label} cannot be read", hint="check the quotes in its first line")
    return Header(headers[delimiter], record, delimiter)


def _first_line(stream: IO[bytes]) -> tuple[int, bytes]:
    """Returns number and content of the first line that is not blank, up to `MAX_LINE_BYTES`; empty without one."""
    blank_lines = 0
    start = stream.read(MAX_LINE_BYTES).removeprefix(BYTE_ORDER_MARK)
    while start and not start.strip():
        blank_lines += start.count(b"\n")
        start = stream.read(MAX_LINE_BYTES)
    if not start:
        return 1, b""
    lead = start[: len(start) - len(start.lstrip())]
    blank_lines += lead.count(b"\n")
    start = start[lead.rfind(b"\n") + 1 :]
    if len(start) < MAX_LINE_BYTES and b"\n" not in start:
        start += stream.read(MAX_LINE_BYTES - len(start))
    return blank_lines + 1, start.split(b"\n", 1)[0].rstrip(b"\r")


def _split(text: str, delimiter: str) -> tuple[str, ...]:
    try:
        return tuple(next(csv.reader([text], delimiter=delimiter, strict=True), []))
    except csv.Error:
        return ()
