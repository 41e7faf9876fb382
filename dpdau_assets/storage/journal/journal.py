"""The journal: what every ledger transaction did, on disk before it commits; restore = snapshot + journal.

Belongs here: appending to `DATA_DIR/journal/journal-NNNNNN.jsonl` and to its second copy, and what the ledger knows of
its journal. The form of a line belongs to `journal.lines`, doing again what a line says to `journal.replay`.

One line per transaction, written and made durable in both copies while BEGIN IMMEDIATE keeps every other writer out,
just before the commit: nothing is ever visible in the ledger that is not in the journal. The facts `journal_seq` and
`journal_digest` name the last line, in the same transaction. Three things can be found when the next one begins:

    the tail is that line            the usual case
    one line more                    a process died, or the disk refused, between line and commit. The transaction is
                                     done again from its line (a draw that was made is never made twice), unless it
                                     names files that may be gone: then it is void, and the next line takes its place
    more lines, or others            this ledger is older than its journal: it must be restored before anybody writes
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection

from dpdau_assets.errors import InternalError, LedgerOutdatedError
from dpdau_assets.storage.disk.durable import TEMPORARY_MARK, make_durable, remove, replace, temporary_name
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.journal.last_line import read_journal_end, write_journal_end
from dpdau_assets.storage.journal.lines import START, Anchor, Line, encode, file_number, files_in, last_line
from dpdau_assets.storage.journal.sealing import seal
from dpdau_assets.storage.ledger import journal_entries
from dpdau_assets.storage.ledger.journal_entries import Sealed
from dpdau_assets.storage.ledger.ledger import DIGEST_KEY, SEQ_KEY, get_meta, time_text

FILE_BYTES = 64 << 20
FILE_MODE = 0o600
FOLDER_MODE = 0o700
RESTORE_STEP = 1_000
"""How far `seq` jumps at a restore, so that a process that still writes to the ledger before it is told apart."""

Redo = Callable[[Connection, Line], bool]
"""Does a line's transaction again within the present one; False when it cannot."""


class EpochKeys(Protocol):
    """Where the keys of salt epochs come from; the salt store."""

    def epoch_key(self, epoch: int) -> bytes:
        """The key of one epoch; sensitive."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """The tail of the journal as this process knows it, valid while its file stays the same."""

    identity: tuple[str, int, int, int]
    tail: Line | None


class Journal:
    """The journal of one data folder.

    Args:
        folder: `DATA_DIR/journal`.
        mirror: A folder for the second copy, best on another disk; None for none.
        end: The file beside the journal with the number of its last line; None for no such file.
    """

    def __init__(self, folder: Path, *, mirror: Path | None = None, end: Path | None = None) -> None:
        self.folder = folder
        self.mirror = mirror
        self._end = end
        self.keys: EpochKeys | None = None
        self.redo: Redo | None = None
        self._seen: _Seen | None = None
        self._is_aligned = mirror is None

    def begin(self, connection: Connection) -> bool:
        """Compares ledger and journal at the begin of a write transaction; see the table above.

        Returns:
            Whether the transaction of the last line was done again: commit that before anything else is written, or a
            death after the next line would leave two lines that the ledger does not know.

        Raises:
            LedgerOutdatedError: The ledger is older than its journal, or another one.
            StorageError: The journal cannot be read.
        """
        self._sync_copies()
        tail, known = self._tail(), anchor_of(connection)
        if tail is None or tail.seq < known.seq or tail.anchor == known:
            return False
        if tail.previous != known.digest or tail.seq != known.seq + 1:
            raise self._is_older()
        if self.redo is None or not self.redo(connection, tail):
            return False
        journal_entries.take_journal_entries(connection)
        _set_anchor(connection, tail.anchor)
        return True

    def check(self, read_anchor: Callable[[], Anchor], *, ledger_id: str) -> None:
        """Raises unless the ledger is as new as its journal, and both are as new as the recorded end; for readers.

        Args:
            read_anchor: Reads the ledger's anchor, called after the journal was read.
            ledger_id: The ledger's name.

        Raises:
            LedgerOutdatedError: The ledger is older than its journal.
        """
        recorded_end = read_journal_end(self._end, ledger_id=ledger_id) if self._end else 0
        tail = self._tail()
        written, known = tail.seq if tail else 0, read_anchor().seq
        if written > known + 1 or recorded_end > max(written, known):
            raise self._is_older()

    def flush(self, connection: Connection, *, step: int = 1) -> None:
        """Writes the entries of the transaction durably to every copy; call it last before the commit.

        A transaction without entries leaves no line.

        Args:
            connection: The write transaction.
            step: How far `seq` goes on.

        Raises:
            StorageError: A copy cannot be written: roll back.
        """
        collected = journal_entries.take_journal_entries(connection)
        if not collected:
            return
        known, ledger_id = anchor_of(connection), get_meta(connection, "ledger_id") or ""
        seq = known.seq + step
        body: dict[str, Any] = {
            "seq": seq,
            "previous": known.digest,
            "at": time_text(datetime.now(UTC)),
            "ledger": ledger_id,
            "notes": [{"note": one.kind, **one.document} for one in collected],
        }
        line, digest = encode(body, lambda value: self._sealed(value, ledger_id=ledger_id, seq=seq))
        path = self._append(line)
        identity = _identity(path)
        tail = Line(seq, known.digest, digest, body["at"], ledger_id, path, identity[2] - len(line), len(line))
        self._seen = _Seen(identity, tail)
        if self._end is not None:
            write_journal_end(self._end, seq=seq, ledger_id=ledger_id)
        _set_anchor(connection, Anchor(seq, digest))

    def _sealed(self, value: Any, *, ledger_id: str, seq: int) -> dict[str, str]:
        if not isinstance(value, Sealed):
            raise InternalError(f"a journal entry holds a {type(value).__name__}, which the journal cannot write")
        if self.keys is None:
            raise InternalError("the journal was given no salts to seal erasures with")
        about = sealed_about(ledger_id, seq, value.epoch)
        sealed = seal(self.keys.epoch_key(value.epoch), value.content, about=about)
        return {"sealed": base64.b64encode(sealed).decode("ascii")}

    def _append(self, line: bytes) -> Path:
        """Appends to every copy and returns the first; what was appended is taken back when a copy refuses."""
        self._sync_copies()  # a ledger that is being created had no begin
        name = self._file_for(len(line))
        done: list[tuple[Path, int]] = []
        try:
            for folder in (self.folder, *([self.mirror] if self.mirror else [])):
                path = folder / name
                done.append((path, path.stat().st_size if path.exists() else 0))
                append_line(path, line)
        except BaseException:
            for path, size in done:
                with suppress(OSError):
                    os.truncate(path, size)
            self._seen = None
            raise
        return self.folder / name

    def _file_for(self, size: int) -> str:
        newest = files_in(self.folder)[-1:]
        if not newest:
            return _name(1)
        with storage_errors(newest[0], "read"):
            is_full = newest[0].stat().st_size + size > FILE_BYTES
        return _name(file_number(newest[0]) + 1) if is_full else newest[0].name

    def _tail(self) -> Line | None:
        """The last whole line, read again only when the newest file changed."""
        for path in reversed(files_in(self.folder)):
            identity = _identity(path)
            if self._seen is None or self._seen.identity != identity:
                self._seen = _Seen(identity, last_line(path))
            if self._seen.tail is not None:
                return self._seen.tail
        return None

    def align(self) -> None:
        """Brings two copies to the same files: one that lacks an end, or a file, gets it from the other.

        Raises:
            StorageError: A copy cannot be read or written.
        """
        if self.mirror is None:
            return
        for folder in (self.folder, self.mirror):
            make_folder(folder, mode=FOLDER_MODE)
        for name in sorted({path.name for folder in (self.folder, self.mirror) for path in files_in(folder)}):
            longer, shorter = sorted((self.folder / name, self.mirror / name), key=_size, reverse=True)
            if _size(longer) != _size(shorter) and _is_start_of(shorter, longer):
                _copy(longer, shorter)
        for folder in (self.folder, self.mirror):
            remove(folder.glob(f".journal-*{TEMPORARY_MARK}*"))  # of a copy that was killed
        self._seen, self._is_aligned = None, True

    def _sync_copies(self) -> None:
        """Aligns both copies unless they end alike, by their newest files' sizes; one that vanished does not."""
        if self.mirror is None:
            return
        newest = [files_in(folder)[-1:] for folder in (self.folder, self.mirror)]
        first, second = ([(path.name, _size(path)) for path in found] for found in newest)
        if not self._is_aligned or first != second:
            self.align()

    def _is_older(self) -> LedgerOutdatedError:
        return LedgerOutdatedError(
            f"the ledger is older than its journal in {self.folder}: going on would release days a second time",
            hint="run `dpdau restore`: it brings the ledger up to the journal's last line",
        )


def anchor_of(connection: Connection) -> Anchor:
    """The journal's line that the ledger holds as its last."""
    query = "SELECT key, value FROM meta WHERE key IN (?, ?)"
    facts: dict[str, str] = {row[0]: row[1] for row in connection.exec_driver_sql(query, (SEQ_KEY, DIGEST_KEY))}
    return Anchor(int(facts.get(SEQ_KEY, 0)), facts.get(DIGEST_KEY, START))


def sealed_about(ledger_id: str, seq: int, epoch: int) -> bytes:
    """What a sealed list of erased pseudonyms belongs to."""
    return f"{ledger_id}|{seq}|{epoch}".encode("ascii")


def _set_anchor(connection: Connection, anchor: Anchor) -> None:
    connection.exec_driver_sql(
        "INSERT INTO meta (key, value) VALUES (?, ?), (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (SEQ_KEY, str(anchor.seq), DIGEST_KEY, anchor.digest),
    )


def _identity(path: Path) -> tuple[str, int, int, int]:
    """What stays the same while nobody writes to a file."""
    with storage_errors(path, "read"):
        status = path.stat()
    return path.name, status.st_ino, status.st_size, status.st_mtime_ns


def _name(number: int) -> str:
    return f"journal-{number:06}.jsonl"


def append_line(path: Path, line: bytes) -> None:
    """Appends one line durably; a torn line before it is ended first."""
    make_folder(path.parent, mode=FOLDER_MODE)
    is_new = not path.exists()
    with storage_errors(path, "append to"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
        try:
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            view = memoryview(b"\n" + line if is_torn else line)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if is_new:
        make_durable([path])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _is_start_of(path: Path, whole: Path) -> bool:
    """Whether the bytes of `path`, if it exists, are the first ones of `whole`."""
    if not path.exists():
        return True
    with storage_errors(path, "read"), path.open("rb") as short, whole.open("rb") as long:
        while piece := short.read(1 << 20):
            if long.read(len(piece)) != piece:
                return False
    return True


def _copy(source: Path, target: Path) -> None:
    temporary = target.parent / temporary_name(target)
    with storage_errors(target, "write"):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as stream, source.open("rb") as read:
            shutil.copyfileobj(read, stream)
    make_durable([temporary])
    replace(temporary, target)
    make_durable([target])
