"""Streams a source as Arrow record batches, so that DuckDB reads files of any size and any bytes in bounded memory.

Belongs here: JSONL lines, CSV fields and Parquet rows as columns with their row numbers. Does not belong here: their
meaning (`row_sql`). Nothing is decoded here: bytes that are not UTF-8 pass through to be counted.

Every batch has the column `number` (int64, from 1). JSONL adds `is_too_long` and `line`; CSV and Parquet add `fault`
(a code of `row_sql` or null) and `user_raw`, `time0`.., `op_raw`, as bytes or in the types of the Parquet file.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pac
import pyarrow.parquet as pq

from dpdau_assets.engines.sources.csv_rows import csv_batches
from dpdau_assets.engines.sources.source import Source, column_names
from dpdau_assets.engines.sources.text_blocks import Block, read_blocks

PARQUET_BATCH_ROWS = 1 << 16
DAMAGE = (OSError, EOFError, zlib.error, pa.ArrowException)

ReadProgress = Callable[[int, int], None]


class ArrowRows:
    """The rows of one source as a stream of record batches.

    Args:
        source: What to read (sensitive content).
        progress: Takes bytes or rows read and their number in all.
    """

    def __init__(self, source: Source, progress: ReadProgress) -> None:
        self._source = source
        self._progress = progress
        self.is_damaged = False

    def reader(self) -> pa.RecordBatchReader:
        """Returns the stream, which can be read once; if the source is damaged, it raises and sets `is_damaged`."""
        kinds = {"jsonl": (_json_schema, self._json), "csv": (_csv_schema, self._csv)}
        schema_of, batches = kinds.get(self._source.format, (_parquet_schema, self._parquet))
        schema = schema_of(self._source)
        return pa.RecordBatchReader.from_batches(schema, self._watched(batches(schema)))

    def _watched(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except DAMAGE:
            self.is_damaged = True
            raise RuntimeError("the source is damaged") from None

    def _blocks(self, *, has_quotes: bool) -> Iterator[Block]:
        with self._source.open_bytes() as stream:
            for block in read_blocks(stream, has_quotes=has_quotes):
                yield block
                self._progress(_position(stream), self._source.size_bytes)

    def _json(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for block in self._blocks(has_quotes=False):
            buffers = [None, pa.py_buffer(block.offsets), pa.py_buffer(block.content)]
            lines = pa.Array.from_buffers(pa.large_binary(), len(block), buffers)
            too_long = pa.array(block.is_too_long)
            if block.is_too_long.any():
                lines = pac.if_else(too_long, pa.scalar(None, pa.large_binary()), lines)
            numbers = np.arange(block.first, block.first + len(block), dtype=np.int64)
            yield pa.RecordBatch.from_arrays([pa.array(numbers), too_long, lines], schema=schema)

    def _csv(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        header = self._source.header
        if not header:
            return
        wanted = [header.index(name) for name in column_names(self._source)]
        for block in self._blocks(has_quotes=True):
            yield from csv_batches(
                block,
                wanted=wanted,
                width=len(header),
                delimiter=self._source.delimiter,
                header_record=self._source.header_record,
                schema=schema,
            )

    def _parquet(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        names = list(column_names(self._source))
        with pq.ParquetFile(self._source.path) as file:
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS, columns=names):
                numbers = pa.array(np.arange(done + 1, done + 1 + batch.num_rows, dtype=np.int64))
                columns = [_as_bytes(batch.column(name)) for name in names]
                faults = pa.nulls(batch.num_rows, pa.int8())
                yield pa.RecordBatch.from_arrays([numbers, faults, *columns], schema=schema)
                done += batch.num_rows
                self._progress(done, total)


def _position(stream: IO[bytes]) -> int:
    """Returns how many bytes of the file were consumed; for gzip, bytes of the compressed file."""
    raw = getattr(stream, "fileobj", None) or stream
    return int(raw.tell())


def _json_schema(_source: Source) -> pa.Schema:
    return pa.schema([("number", pa.int64()), ("is_too_long", pa.bool_()), ("line", pa.large_binary())])


def _csv_schema(source: Source) -> pa.Schema:
    names = list(column_names(source).values())
    return pa.schema([("number", pa.int64()), ("fault", pa.int8()), *((name, pa.binary()) for name in names)])


def _parquet_schema(source: Source) -> pa.Schema:
    with pq.ParquetFile(source.path) as file:
        kinds = file.schema_arrow
    fields = [(own, _bytes_type(kinds.field(name).type)) for name, own in column_names(source).items()]
    return pa.schema([("number", pa.int64()), ("fault", pa.int8()), *fields])


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column as it is streamed: texts as bytes, since Parquet does not promise that they are UTF-8."""
    if pa.types.is_dictionary(kind):
        return _bytes_type(kind.value_type)
    return pa.binary() if pa.types.is_string(kind) else pa.large_binary() if pa.types.is_large_string(kind) else kind


def _as_bytes(column: pa.Array) -> pa.Array:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    target = _bytes_type(plain.type)
    return plain if plain.type == target else plain.view(target)
