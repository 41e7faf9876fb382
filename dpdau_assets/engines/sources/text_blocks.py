"""Divides a stream of any bytes into blocks of complete records, in bounded memory.

Belongs here: line ends, quoted line breaks of CSV, records too long to keep. Does not belong here: the content of a
record (`sources`, `row_sql`). Nothing is decoded, and lines are not handled one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

MAX_LINE_BYTES = 1 << 20
"""Longest record that is read; a longer one is counted as too long and skipped while streaming."""

MAX_QUOTED_RECORD_BYTES = 1 << 16
"""Longest CSV record with a line break inside quotes. A quote that is never closed spoils at most this much."""

BLOCK_BYTES = 8 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEWLINE = 10
_QUOTE = 34

Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False)
class Block:
    """Consecutive complete records (sensitive; prints as nothing).

    Attributes:
        content: The records' bytes with their line ends; empty when the block only stands for a skipped record.
        offsets: int64[n + 1], where each record starts and the last ends.
        first: Number of the first record, starting at 1.
        is_broken: bool[n], records whose end is unknown because a quote never closes.
        is_too_long: bool[n], records beyond `MAX_LINE_BYTES`.
    """

    content: bytes
    offsets: Offsets
    first: int
    is_broken: NDArray[np.bool_]
    is_too_long: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1


def read_blocks(stream: IO[bytes], *, has_quotes: bool, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The records of `stream` in order, each exactly once; a byte order mark at the start is dropped.

    Guarantee: at most `block_bytes` plus two times `MAX_LINE_BYTES` of the stream are held at a time.

    Args:
        stream: Binary, read to its end (sensitive).
        has_quotes: Whether line breaks between double quotes belong to the record (CSV).
        block_bytes: Bytes read at a time, at least `MAX_LINE_BYTES`.
    """
    carry, number, is_skipping = b"", 1, False
    is_start, is_end = True, False
    while not is_end:
        chunk = stream.read(block_bytes)
        is_end = not chunk
        if is_start:
            chunk, is_start = chunk.removeprefix(BYTE_ORDER_MARK), False
        if is_skipping:
            cut = chunk.find(b"\n")
            if cut < 0:
                continue
            chunk, is_skipping = chunk[cut + 1 :], False
        data = carry + chunk
        ends, broken = _record_ends(data, has_quotes=has_quotes, is_end=is_end)
        block = _block(data, ends, broken=broken, first=number)
        if len(block):
            yield block
            number += len(block)
        carry = data[int(ends[-1]) :] if len(ends) else data
        if len(carry) > MAX_LINE_BYTES:
            yield _skipped(number)
            number, carry, is_skipping = number + 1, b"", True


def _block(data: bytes, ends: Offsets, *, broken: Offsets, first: int) -> Block:
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), ends])
    lengths = np.diff(offsets)
    is_broken = np.isin(offsets[:-1], broken) if len(broken) else np.zeros(len(lengths), dtype=np.bool_)
    return Block(data, offsets, first, is_broken, lengths > MAX_LINE_BYTES)


def _skipped(number: int) -> Block:
    """A block of one record that was too long to keep."""
    return Block(b"", np.zeros(2, dtype=np.int64), number, np.zeros(1, dtype=np.bool_), np.ones(1, dtype=np.bool_))


def _record_ends(data: bytes, *, has_quotes: bool, is_end: bool) -> tuple[Offsets, Offsets]:
    """Returns where records end and where broken ones start; at the end of the stream, the rest is one record."""
    array = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(array == _NEWLINE)
    nothing = np.zeros(0, dtype=np.int64)
    if has_quotes and b'"' in data:
        ends, broken = _quoted_record_ends(array, newlines, is_end=is_end)
    else:
        ends, broken = newlines + 1, nothing
    if is_end and len(data) and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    return ends, broken


def _quoted_record_ends(array: NDArray[np.uint8], newlines: Offsets, *, is_end: bool) -> tuple[Offsets, Offsets]:
    """Returns the ends of records, where a line break between quotes does not end a record.

    A line break ends a record if the number of quotes since the record's start is even. If that makes a record of
    several lines longer than `MAX_QUOTED_RECORD_BYTES`, or leaves a quote open at the end of the stream, the record's
    first line is declared broken and counting starts again after it. After such a line only the parity that all line
    breaks are compared with changes, so each restart costs two binary searches.
    """
    quotes = np.flatnonzero(array == _QUOTE)
    parities = np.searchsorted(quotes, newlines) & 1
    by_parity = (newlines[parities == 0], newlines[parities == 1])
    ends: list[Offsets] = []
    broken: list[int] = []
    start, parity = 0, 0
    while True:
        candidates = by_parity[parity]
        candidates = candidates[np.searchsorted(candidates, start) :]
        good, is_complete = _until_overlong(candidates, newlines, start=start, total=len(array))
        is_open = (len(quotes) & 1) != parity
        if is_complete and not (is_end and is_open):
            ends.append(good + 1)
            break
        ends.append(good + 1)
        start = int(good[-1]) + 1 if len(good) else start
        position = int(np.searchsorted(newlines, start))
        broken.append(start)
        if position == len(newlines):
            break
        parity = int(parities[position])
        start = int(newlines[position]) + 1
        ends.append(newlines[position : position + 1] + 1)
    return np.concatenate(ends), np.array(broken, dtype=np.int64)


def _until_overlong(candidates: Offsets, newlines: Offsets, *, start: int, total: int) -> tuple[Offsets, bool]:
    """Returns the record ends before the first overlong record of several lines, and whether there is no such one."""
    bounds = np.concatenate([np.array([start - 1]), candidates, np.array([total])])
    long = np.flatnonzero(np.diff(bounds) > MAX_QUOTED_RECORD_BYTES)
    first_line_ends = np.append(newlines, total)[np.searchsorted(newlines, bounds[long] + 1)]
    overlong = long[first_line_ends < bounds[long + 1]]
    return (candidates, True) if not len(overlong) else (candidates[: overlong[0]], False)
