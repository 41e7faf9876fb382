"""Cutting bytes into records."""

from __future__ import annotations

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dpdau_assets.engines.sources.text_blocks import (
    BYTE_ORDER_MARK,
    MAX_LINE_BYTES,
    MAX_QUOTED_RECORD_BYTES,
    read_blocks,
)

Record = tuple[bytes, bool, bool]


def records(content: bytes, *, has_quotes: bool = False, block_bytes: int = MAX_LINE_BYTES) -> list[Record]:
    """Every record with its two flags; numbers are checked to be consecutive."""
    found: list[Record] = []
    for block in read_blocks(io.BytesIO(content), has_quotes=has_quotes, block_bytes=block_bytes):
        assert block.first == len(found) + 1
        for index in range(len(block)):
            piece = block.content[int(block.offsets[index]) : int(block.offsets[index + 1])]
            found.append((piece, bool(block.is_broken[index]), bool(block.is_too_long[index])))
    return found


texts = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b'"', b",", b"\xff", b"\x00", b'"x\ny"']), max_size=60).map(
    b"".join
)


class TestLines:
    @given(texts, st.integers(1, 9))
    def test_every_line_comes_once_in_order_whatever_the_block_size(self, content: bytes, block_bytes: int) -> None:
        """The records of a stream are its lines with their ends, for any bytes and any size of block."""
        assert [piece for piece, _, _ in records(content, block_bytes=block_bytes)] == content.splitlines(
            keepends=True
        ) or ([piece for piece, _, _ in records(content, block_bytes=block_bytes)] == io.BytesIO(content).readlines())

    def test_a_byte_order_mark_at_the_start_is_no_content(self) -> None:
        """A byte order mark is dropped at the start of the stream and nowhere else."""
        assert records(BYTE_ORDER_MARK + b"a\n" + BYTE_ORDER_MARK) == [
            (b"a\n", False, False),
            (BYTE_ORDER_MARK, False, False),
        ]

    def test_a_line_that_is_too_long_is_counted_and_not_kept(self) -> None:
        """A line beyond the limit is one record flagged too long, and the lines around it are whole."""
        content = b"a\n" + b"x" * (5 * MAX_LINE_BYTES) + b"\nb\n" + b"y" * MAX_LINE_BYTES + b"\nc"
        found = records(content)
        assert [piece for piece, _, is_too_long in found if not is_too_long] == [b"a\n", b"b\n", b"c"]
        assert [is_too_long for _, _, is_too_long in found] == [False, True, False, True, False]
        assert max(len(piece) for piece, _, _ in found) <= 3 * MAX_LINE_BYTES

    def test_an_endless_line_at_the_end_is_one_record(self) -> None:
        """A too long line without a line end is one record, the last."""
        assert [flags for _, *flags in records(b"a\n" + b"x" * (3 * MAX_LINE_BYTES))] == [[False, False], [False, True]]


class TestQuotedLineBreaks:
    @settings(max_examples=80)
    @given(
        st.lists(st.lists(st.text(alphabet='a",\n é', max_size=6), min_size=2, max_size=3), max_size=12),
        st.integers(1, 30),
    )
    @example([["a", 'x"\n"y']], 1)
    def test_records_of_a_well_formed_file_are_those_of_the_csv_module(
        self, rows: list[list[str]], block_bytes: int
    ) -> None:
        """Line breaks inside quotes belong to the record, for any size of block."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        found = records(text.getvalue().encode(), has_quotes=True, block_bytes=block_bytes)
        assert not any(is_broken or is_too_long for _, is_broken, is_too_long in found)
        assert [next(csv.reader([piece.decode()])) for piece, _, _ in found] == rows

    @given(texts, st.integers(1, 9))
    def test_no_byte_is_lost_or_read_twice(self, content: bytes, block_bytes: int) -> None:
        """The records together are the stream, also when quotes are not balanced."""
        found = records(content, has_quotes=True, block_bytes=block_bytes)
        assert b"".join(piece for piece, _, _ in found) == content

    def test_a_quote_that_never_closes_spoils_its_own_line(self) -> None:
        """A stray quote makes its line a broken record, and the well-formed lines behind it are read."""
        good = [b'z,"3"\n'] * 50_000
        found = records(b'a,b\n"xy,2\n' + b"".join(good), has_quotes=True)
        assert [piece for piece, is_broken, _ in found if is_broken] == [b'"xy,2\n']
        assert [piece for piece, is_broken, _ in found if not is_broken] == [b"a,b\n", *good]

    def test_a_quote_left_open_at_the_end_spoils_its_own_line(self) -> None:
        """At the end of the stream an open quote breaks one line; those behind it are read."""
        found = records(b'a,b\n"xy,2\nz,3\nq,4', has_quotes=True)
        assert [(piece, is_broken) for piece, is_broken, _ in found] == [
            (b"a,b\n", False),
            (b'"xy,2\n', True),
            (b"z,3\n", False),
            (b"q,4", False),
        ]

    def test_a_long_line_without_breaks_is_no_broken_record(self) -> None:
        """The limit of records with line breaks in quotes does not touch a record of one line."""
        line = b'"' + b"x" * (2 * MAX_QUOTED_RECORD_BYTES) + b'",1\n'
        assert records(line * 2, has_quotes=True) == [(line, False, False)] * 2
