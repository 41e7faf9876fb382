"""Finds pages in a Parquet file that store 64-bit numbers uncompressed and unencoded, without Arrow.

Belongs here: reading the header of a page. Which files have such pages, and how other files are read, belongs to
`key_files` and `key_search`; writing pages belongs to Arrow.

Reference: Parquet format, PageHeader and DataPageHeader, in Thrift's compact protocol.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

Fields = dict[int, "int | Fields | None"]
"""The members of a Thrift struct by their numbers; text and bytes are left out."""

DATA_PAGE = 0
PLAIN = 0
_TRUE, _FALSE, _BYTE, _BYTES, _STRUCT = 1, 2, 3, 8, 12
_NUMBERS = (4, 5, 6)


@dataclass(frozen=True, slots=True)
class PlainPage:
    """The position of a page's numbers.

    Attributes:
        start: Position of the first number.
        count: How many numbers there are, 8 bytes each.
    """

    start: int
    count: int

    @property
    def end(self) -> int:
        """The position after the last number."""
        return self.start + 8 * self.count


def plain_page(content: bytes | mmap.mmap, position: int) -> PlainPage | None:
    """Returns the data page whose header is at `position`; None unless it stores plain 64-bit numbers.

    The result is None for a page that is compressed, encoded, truncated, of another version or no data page. The
    caller checks in the footer whether the column may hold nulls; their bytes would make the page too long here.
    """
    try:
        header, start = _struct(content, position)
    except (IndexError, ValueError):
        return None
    about = header.get(5)
    if not isinstance(about, dict):
        return None
    count = about.get(1)
    is_plain = (header.get(1), about.get(2)) == (DATA_PAGE, PLAIN)
    if not (is_plain and isinstance(count, int) and header.get(2) == header.get(3) == 8 * count):
        return None
    page = PlainPage(start, count)
    return page if page.end <= len(content) else None


def _struct(content: bytes | mmap.mmap, position: int) -> tuple[Fields, int]:
    """Returns the members of the struct at `position`, and the position after it."""
    fields: Fields = {}
    number = 0
    while mark := content[position]:
        position += 1
        step, kind = mark >> 4, mark & 15
        if not step:
            raise ValueError  # the field number is not a small step up, which no page header has
        number += step
        value: int | Fields | None = None
        if kind in _NUMBERS:
            zigzag, position = _varint(content, position)
            value = (zigzag >> 1) ^ -(zigzag & 1)
        elif kind == _BYTES:
            length, position = _varint(content, position)
            position += length
        elif kind == _STRUCT:
            value, position = _struct(content, position)
        elif kind == _BYTE:
            position += 1
        elif kind not in (_TRUE, _FALSE):
            raise ValueError
        fields[number] = value
    return fields, position + 1


def _varint(content: bytes | mmap.mmap, position: int) -> tuple[int, int]:
    """Returns the unsigned number at `position`, and the position after it."""
    value, shift = 0, 0
    while True:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError
