"""The lines of the journal: their form, their files, and the chain that they form.

Belongs here: encoding and decoding a line, finding the lines of one or two copies, ordering them. Writing lines belongs
to `journal`, their meaning to `journal.replay`. A line is one JSON object that ends with its own SHA-256:

    {"seq": 7, "previous": "<digest of the line before>", "at": "<UTC time>", "ledger": "<id>", "notes": [...],
     "sha256": "<digest of this line without this member>"}

Digests order the chain: a line follows the line whose digest it names. If a crash left a line that was never committed,
the next line names the same predecessor. The later of the two counts, unless only the earlier one has a successor.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpdau_assets.errors import DataError
from dpdau_assets.storage.disk.os_errors import storage_errors

FILE_NAME = re.compile(r"journal-(\d{6,})\.jsonl")
START = ""
"""The digest that the first line of a journal names as its predecessor."""
_MARK = b',"sha256":"'
_TAIL_BYTES = len(_MARK) + 64 + len(b'"}')


@dataclass(frozen=True, slots=True)
class Anchor:
    """A place in the journal: the last line that something holds (public)."""

    seq: int = 0
    digest: str = START


@dataclass(frozen=True, slots=True, repr=False)
class Line:
    """A line whose digest was checked; `document` reads its entries."""

    seq: int
    previous: str
    digest: str
    at: str
    ledger: str
    path: Path
    offset: int
    length: int

    @property
    def anchor(self) -> Anchor:
        """The place of this line."""
        return Anchor(self.seq, self.digest)

    def document(self) -> dict[str, Any]:
        """Reads the line's content and checks it again."""
        with storage_errors(self.path, "read"), self.path.open("rb") as stream:
            stream.seek(self.offset)
            found = decode(stream.read(self.length))
        if found is None or found[1] != self.digest:
            raise DataError(f"{self.path} changed while it was read", hint="stop all writers, then repeat")
        return found[0]


@dataclass(frozen=True, slots=True)
class Gap:
    """Lines that existed and cannot be found (public).

    Attributes:
        after: The last line before it.
        since: Time of that line; "" when it is not known.
        until: Time of the first line after it; None when nothing is known to follow.
    """

    after: int
    since: str
    until: str | None


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines after an anchor, in order, and where some are missing."""

    lines: tuple[Line, ...]
    gaps: tuple[Gap, ...]
    starts_at_anchor: bool

    @property
    def gap(self) -> Gap | None:
        """Returns the first gap, None when there is none."""
        return self.gaps[0] if self.gaps else None


def encode(body: Mapping[str, Any], default: Any = None) -> tuple[bytes, str]:
    """Returns a line with its newline, and its digest."""
    content = json.dumps(body, separators=(",", ":"), allow_nan=False, default=default).encode()
    digest = hashlib.sha256(content).hexdigest()
    return content[:-1] + _MARK + digest.encode() + b'"}\n', digest


def decode(line: bytes) -> tuple[dict[str, Any], str] | None:
    """Returns the content and the digest of a line, None when it is torn or altered."""
    line = line.rstrip(b"\n")
    tail = line[-_TAIL_BYTES:]
    if len(line) <= _TAIL_BYTES or not tail.startswith(_MARK) or not tail.endswith(b'"}'):
        return None
    content, digest = line[:-_TAIL_BYTES] + b"}", tail[len(_MARK) : -2].decode("ascii", "replace")
    if hashlib.sha256(content).hexdigest() != digest:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return (document, digest) if isinstance(document, dict) else None


def files_in(folder: Path) -> list[Path]:
    """Returns the journal's files in order; an empty list when the folder does not exist."""
    if not folder.is_dir():
        return []
    with storage_errors(folder, "read"):
        return sorted((path for path in folder.iterdir() if FILE_NAME.fullmatch(path.name)), key=file_number)


def file_number(path: Path) -> int:
    """The number in the name of a journal file."""
    match = FILE_NAME.fullmatch(path.name)
    return int(match.group(1)) if match else 0


def lines_of(path: Path) -> Iterator[Line]:
    """Yields the intact lines of one file in order; torn and altered lines are left out."""
    offset = 0
    with storage_errors(path, "read"), path.open("rb") as stream:
        for raw in stream:
            found = decode(raw)
            if found is not None:
                yield _line(found, path, offset, len(raw))
            offset += len(raw)


def _line(found: tuple[dict[str, Any], str], path: Path, offset: int, length: int) -> Line:
    document, digest = found
    return Line(
        int(document["seq"]), document["previous"], digest, document["at"], document["ledger"], path, offset, length
    )


def last_line(path: Path) -> Line | None:
    """Returns the last intact line of one file, read from its end; None when it has none."""
    chunk = 1 << 16
    with storage_errors(path, "read"), path.open("rb") as stream:
        size = stream.seek(0, 2)
        while True:
            start = max(0, size - chunk)
            stream.seek(start)
            content = stream.read(size - start)
            position = len(content)
            while position > 0:
                begin = content.rfind(b"\n", 0, position - 1) + 1
                if begin == 0 and start > 0:
                    break  # the line may begin before the chunk
                found = decode(content[begin:position])
                if found is not None:
                    return _line(found, path, start + begin, position - begin)
                position = begin
            if start == 0:
                return None
            chunk *= 8


def read(folder: Path, mirror: Path | None = None, *, after: Anchor | None = None) -> Lines:
    """Returns the lines after an anchor, each taken from a copy that holds it intact.

    Args:
        folder: The journal.
        mirror: Its second copy, None when there is none.
        after: The last line already known; None for all lines.

    Raises:
        StorageError: A file cannot be read.
    """
    anchor = after or Anchor()
    by_digest: dict[str, Line] = {}
    followers: dict[str, list[Line]] = {}
    for path in [*files_in(folder), *(files_in(mirror) if mirror else [])]:
        for line in lines_of(path):
            if line.digest not in by_digest:
                by_digest[line.digest] = line
                followers.setdefault(line.previous, []).append(line)
    chain, gaps, current = [], [], anchor
    while True:
        following = _choose(followers.get(current.digest, []), followers)
        if following is not None and following.seq > current.seq:
            chain.append(following)
            current = following.anchor
            continue
        later = [line for line in by_digest.values() if line.seq > current.seq]
        if not later:
            break
        resumed = min(
            (line for line in later if line.previous not in by_digest), key=_seq, default=min(later, key=_seq)
        )
        gaps.append(Gap(current.seq, by_digest[current.digest].at if current.digest in by_digest else "", resumed.at))
        chain.append(resumed)
        current = resumed.anchor
    is_anchored = anchor.digest in by_digest or anchor.digest in followers or anchor == Anchor()
    return Lines(tuple(chain), tuple(gaps), is_anchored)


def _seq(line: Line) -> int:
    return line.seq


def _choose(candidates: list[Line], followers: Mapping[str, list[Line]]) -> Line | None:
    """Returns the line that counts among those that name the same predecessor."""
    going_on = [line for line in candidates if line.digest in followers]
    chosen = going_on or candidates
    return chosen[-1] if chosen else None
