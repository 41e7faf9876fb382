"""Reads the raw pages of an SQLite file and of its write-ahead log, including free pages and superseded versions.

Belongs here: which pages belong to one table, and the bytes of all others. Does not belong here: SQL (`ledger`), what
is looked for in the bytes (`byte_search`).

A database that was read here is never closed again: closing it would, by POSIX rules, drop the locks that SQLite holds
on it in this process, and another process could take it for unused. The descriptor stays open until the process ends.

Reference: https://www.sqlite.org/fileformat2.html, sections 1.3, 1.6 and 4.1.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dpdau_assets.storage.disk.os_errors import storage_errors

MAGIC = b"SQLite format 3\x00"
WAL_MAGIC = (0x377F0682, 0x377F0683)
WAL_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
INTERIOR_INDEX, INTERIOR_TABLE = 2, 5

_descriptors: dict[tuple[int, int], int] = {}
"""Open SQLite files by device and inode."""

PageReader = Callable[[int], bytes]
"""Returns the bytes of a page by its number, counted from 1."""


def open_for_good(path: Path) -> int:
    """Returns a descriptor of `path` that stays open for the life of the process; every call returns the same one.

    Raises:
        OSError: The file cannot be opened.
    """
    status = path.stat()
    identity = status.st_dev, status.st_ino
    if identity not in _descriptors:
        _descriptors[identity] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return _descriptors[identity]


@dataclass(frozen=True, slots=True, repr=False)
class PagesOutsideTable:
    """The content of an SQLite database outside one table (sensitive; prints as nothing).

    Attributes:
        database: Pages of the main file.
        log: Frames of the write-ahead log, valid or superseded.
    """

    database: tuple[bytes, ...]
    log: tuple[bytes, ...]


def pages_outside_table(path: Path, *, root: int | None) -> PagesOutsideTable:
    """Returns all pages of the database at `path` and of its log, except those of one table.

    A page belongs to the table if it does so in the main file or with the log applied. The caller must hold a write
    transaction of that database, so that nobody else writes.

    Args:
        path: The database; the log lies beside it under the same name with `-wal`.
        root: Root page of the table that is left out; None leaves out nothing.

    Raises:
        StorageError: A file cannot be read.
    """
    with storage_errors(path, "read"):
        database = open_for_good(path)
        size = _page_size(os.pread(database, 100, 0))
        count = os.fstat(database).st_size // size
        frames = list(_frames(path.with_name(f"{path.name}-wal"), size))

        def main(number: int) -> bytes:
            return os.pread(database, size, (number - 1) * size)

        latest = _committed(frames)
        owned = pages_of_table(main, root, count)
        owned |= pages_of_table(lambda number: latest.get(number) or main(number), root, max([count, *latest]))
        return PagesOutsideTable(
            tuple(main(number) for number in range(1, count + 1) if number not in owned),
            tuple(frame.content for frame in frames if frame.page not in owned),
        )


def pages_of_table(read: PageReader, root: int | None, count: int) -> set[int]:
    """Returns the pages of the b-tree that starts at `root`; leaves are known from their parents and not read."""
    if root is None or not 1 <= root <= count:
        return set()
    owned, level = {root}, [root]
    while level and _is_interior(read(level[0]), level[0]):
        children = [child for page in level for child in _children(read(page), page) if 1 <= child <= count]
        level = [child for child in children if child not in owned]
        owned.update(level)
    return owned


def _page_size(header: bytes) -> int:
    size = int.from_bytes(header[16:18], "big") if header[: len(MAGIC)] == MAGIC else 0
    return 65536 if size == 1 else size or 4096


def _start(number: int) -> int:
    """Returns where the b-tree header of a page begins: on the first page it follows the file's own header."""
    return 100 if number == 1 else 0


def _is_interior(page: bytes, number: int) -> bool:
    start = _start(number)
    return len(page) > start and page[start] in (INTERIOR_INDEX, INTERIOR_TABLE)


def _children(page: bytes, number: int) -> Iterator[int]:
    """The pages below an interior page."""
    start = _start(number)
    if not _is_interior(page, number):
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for position in range(cells):
        pointer = start + 12 + 2 * position
        cell = int.from_bytes(page[pointer : pointer + 2], "big")
        yield int.from_bytes(page[cell : cell + 4], "big")
    yield int.from_bytes(page[start + 8 : start + 12], "big")


@dataclass(frozen=True, slots=True, repr=False)
class _Frame:
    page: int
    content: bytes
    is_current: bool
    is_commit: bool


def _committed(frames: list[_Frame]) -> dict[int, bytes]:
    """The newest committed version of every page in the log."""
    latest: dict[int, bytes] = {}
    waiting: dict[int, bytes] = {}
    for frame in frames:
        if not frame.is_current:
            break
        waiting[frame.page] = frame.content
        if frame.is_commit:
            latest.update(waiting)
            waiting.clear()
    return latest


def _frames(path: Path, page_size: int) -> Iterator[_Frame]:
    """Yields every frame in the log, including frames of earlier rounds that were not overwritten yet."""
    if not path.exists():
        return
    with path.open("rb") as log:  # SQLite locks the database and its index, never this file
        header = log.read(WAL_HEADER_BYTES)
        if len(header) < WAL_HEADER_BYTES or int.from_bytes(header[:4], "big") not in WAL_MAGIC:
            return
        size = int.from_bytes(header[8:12], "big") or page_size
        is_current = True
        while len(frame := log.read(FRAME_HEADER_BYTES + size)) > FRAME_HEADER_BYTES:
            page, commit = struct.unpack_from(">II", frame)
            is_current = is_current and frame[8:16] == header[16:24]
            yield _Frame(page, frame[FRAME_HEADER_BYTES:], is_current, commit > 0)
