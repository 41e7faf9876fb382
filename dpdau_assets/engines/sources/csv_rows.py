"""The wanted fields of a block of CSV records, as columns of bytes with record numbers and faults.

Belongs here: splitting records into fields with pyarrow, and keeping the count of records right whatever they hold.
Does not belong here: where records end (`text_blocks`), what fields mean (`row_sql`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pac
import pyarrow.csv as pc
from numpy.typing import NDArray

from dpdau_assets.core.activity import MAX_ID_BYTES, Reason
from dpdau_assets.engines.duckdb.row_sql import CODE_OF
from dpdau_assets.engines.sources.text_blocks import Block, Offsets

_NOT_UTF8 = f"\x1a{secrets.token_hex(4)}"
"""Replaces a byte that is not UTF-8, because pyarrow cannot report a refused record that contains one."""
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")
_RETURN, _QUOTE = 13, 34
_LINE_ENDS = (10, _RETURN)

Numbers = NDArray[np.int64]


def csv_batches(
    block: Block, *, wanted: Sequence[int], width: int, delimiter: str, header_record: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yields the records of `block` except the header, each exactly once; blank records are left out.

    Args:
        block: Complete records (sensitive).
        wanted: Positions of the fields to keep.
        width: Fields in a well-formed record.
        delimiter: One character.
        header_record: Number of the record that holds the header; those before it are blank.
        schema: number, fault and the wanted fields as binary.
    """
    numbers = np.arange(block.first, block.first + len(block), dtype=np.int64)
    is_row = numbers > header_record
    yield from _refused(numbers[block.is_broken & is_row], "malformed", schema)
    yield from _refused(numbers[block.is_too_long & is_row], "too_long", schema)
    is_kept = ~(block.is_broken | block.is_too_long) & is_row
    for is_quoted_too in (False, True):
        is_intact = is_kept & ~_has_inner_return(block, is_quoted_too=is_quoted_too)
        content, starts = _kept_bytes(block, is_intact)
        known = numbers[is_intact][~_is_blank(content, starts)]
        table, invalid, fault_of_user = _split_fields(content, wanted, width=width, delimiter=delimiter)
        if table.num_rows + len(invalid) == len(known):
            break
    yield from _refused(numbers[is_kept & ~is_intact], "malformed", schema)
    good, bad = _row_numbers(known, invalid, rows=table.num_rows)
    if table.num_rows:
        yield pa.RecordBatch.from_arrays([pa.array(good), fault_of_user, *_flat(table)], schema=schema)
    yield from _refused(bad, "malformed", schema)


def _refused(numbers: Numbers, reason: Reason, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """A batch of records of which only the number and the fault are known."""
    if len(numbers):
        faults = pa.array(np.full(len(numbers), CODE_OF[reason], dtype=np.int8))
        empty = [pa.nulls(len(numbers), pa.binary())] * (len(schema) - 2)
        yield pa.RecordBatch.from_arrays([pa.array(numbers), faults, *empty], schema=schema)


def _has_inner_return(block: Block, *, is_quoted_too: bool) -> NDArray[np.bool_]:
    """Marks records with a carriage return that is not part of their line end, because pyarrow would split them there.

    Between quotes the carriage return belongs to the field; quotes are counted as they are to find the ends of records.
    Where pyarrow reads quotes differently, it finds too many records; `is_quoted_too` then marks every such record.
    """
    found = np.zeros(len(block), dtype=np.bool_)
    if b"\r" not in block.content:
        return found
    array = np.frombuffer(block.content, dtype=np.uint8)[: int(block.offsets[-1])]
    returns = np.flatnonzero(array[:-1] == _RETURN)
    returns = returns[~np.isin(array[returns + 1], _LINE_ENDS)]
    records = np.searchsorted(block.offsets, returns, side="right") - 1
    if not is_quoted_too:
        quotes = np.flatnonzero(array == _QUOTE)
        before = np.searchsorted(quotes, returns) - np.searchsorted(quotes, block.offsets[records])
        records = records[before & 1 == 0]
    found[records] = True
    return found


def _kept_bytes(block: Block, is_kept: NDArray[np.bool_]) -> tuple[bytes, Offsets]:
    """The bytes of the kept records, and where each starts in them."""
    lengths = np.diff(block.offsets)
    if is_kept.all():
        return block.content[: int(block.offsets[-1])], block.offsets[:-1]
    array = np.frombuffer(block.content, dtype=np.uint8)[: int(block.offsets[-1])]
    ends = np.cumsum(lengths[is_kept])
    return array[np.repeat(is_kept, lengths)].tobytes(), ends - lengths[is_kept]


def _is_blank(content: bytes, starts: Offsets) -> NDArray[np.bool_]:
    """Records that are nothing but a line end; pyarrow leaves out the same ones."""
    array = np.frombuffer(content, dtype=np.uint8)
    return np.isin(array[starts], _LINE_ENDS)


def _split_fields(
    content: bytes, wanted: Sequence[int], *, width: int, delimiter: str
) -> tuple[pa.Table, list[int], pa.Array]:
    """The wanted fields, the positions (from 1) of records with another number of fields, and faults per row."""
    if not content.strip(b"\r\n"):
        nothing = [pa.array([], pa.binary())] * len(wanted)
        return pa.table(nothing, names=[str(position) for position in wanted]), [], pa.nulls(0, pa.int8())
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "surrogateescape")
        marked = _ESCAPED_BYTES.sub(_NOT_UTF8, text).encode("utf-8")
        table, invalid = _parse(marked, wanted, width=width, delimiter=delimiter)
    else:
        table, invalid = _parse(content, wanted, width=width, delimiter=delimiter)
        return table, invalid, pa.nulls(table.num_rows, pa.int8())
    return table, invalid, _faults_of_users(_flat(table)[0])


def _faults_of_users(users: pa.Array) -> pa.Array:
    """The fault of every id that holds a marked byte, null for the others."""
    marks = pac.count_substring(users, _NOT_UTF8)
    length = pac.subtract(pac.binary_length(users), pac.multiply(marks, len(_NOT_UTF8) - 1))
    codes = [pa.scalar(CODE_OF[reason], pa.int8()) for reason in ("too_long", "not_utf8")]
    faults = pac.if_else(pac.greater(length, MAX_ID_BYTES), *codes)
    return pac.if_else(pac.greater(marks, 0), faults, pa.scalar(None, pa.int8()))


def _parse(content: bytes, wanted: Sequence[int], *, width: int, delimiter: str) -> tuple[pa.Table, list[int]]:
    invalid: list[int] = []

    def skip(row: pc.InvalidRow) -> str:
        invalid.append(row.number)
        return "skip"

    names = [str(position) for position in range(width)]
    chosen = [names[position] for position in wanted]
    table = pc.read_csv(
        pa.BufferReader(
            b"\n" + content
        ),  # a blank line comes first, so that no record's first bytes are taken for a byte order mark
        read_options=pc.ReadOptions(use_threads=False, block_size=len(content) + 2, column_names=names),
        parse_options=pc.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(chosen, pa.binary()), include_columns=chosen, strings_can_be_null=False
        ),
    )
    return table, invalid


def _flat(table: pa.Table) -> list[pa.Array]:
    """Returns each column in one piece; a block is far too small to need two."""
    return [pa.concat_arrays(column.chunks) for column in table.columns]


def _row_numbers(numbers: Numbers, invalid: Sequence[int], *, rows: int) -> tuple[Numbers, Numbers]:
    """Record numbers of the well-formed rows and of the invalid ones.

    Where pyarrow sees more records than `text_blocks` (a stray quote inside a field), every record still counts and the
    numbers are those of the nearest record before.
    """
    positions = np.asarray(invalid, dtype=np.int64) - 1
    total = rows + len(positions)
    known = numbers[np.minimum(np.arange(total), len(numbers) - 1)]
    is_invalid = np.zeros(total, dtype=np.bool_)
    is_invalid[positions[positions < total]] = True
    return known[~is_invalid], known[is_invalid]
