"""The journal records on disk what every ledger transaction did, before it commits; restore = snapshot + journal.

Belongs here: appending to `DATA_DIR/journal/journal-NNNNNN.jsonl` and to its second copy, and what the ledger knows of
its journal. The form of a line belongs to `journal.lines`, replaying a line to `journal.replay`.

Every transaction writes one line, which is made durable in both copies just before the commit, while BEGIN IMMEDIATE
keeps every other writer out: nothing is ever visible in the ledger that is not in the journal. In the same transaction
the facts `journal_seq` and `journal_digest` name that line. When the next transaction begins, the journal ends in one
of three ways:

    with that line                   the usual case
    with one line more               a process died, or the disk failed, between line and commit. The transaction is
                                     replayed from its line (a draw that was made is never made twice), unless it names
                                     files that may be gone: then it is void, and the next line takes its place
    with more or other lines         this ledger is older than its journal: it must be restored before anybody writes
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
"""How far `seq` jumps at a restore: lines of a process that still writes to the replaced ledger then stay apart."""

Redo = Callable[[Connection, Line], bool]
"""Replays a line's transaction within the present one; returns False when it cannot."""


class EpochKeys(Protocol):
    """The source of the keys of salt epochs, which is the salt store."""

    def epoch_key(self, epoch: int) -> bytes:
        """The key of one epoch; sensitive."""
        ...


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last line of the journal as this process knows it, valid while the file stays the same."""

    identity: tuple[str, int, int, int]
    tail: Line | None


class Journal:
    """The journal of one data folder.

    Args:
        folder: `DATA_DIR/journal`.
        mirror: A folder for the second copy, best on another disk; None for no second copy.
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
        """Compares ledger and journal at the beginning of a write transaction, as in the table above.

        Returns:
            Whether the transaction of the last line was replayed. The caller then commits it before it writes anything
            else: otherwise a crash after the next line would leave two lines that the ledger does not know.

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
        """Raises an error, for readers, unless the ledger is as new as its journal and both as new as the recorded end.

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
        """Writes the entries of the transaction durably to every copy; the last call before the commit.

        A transaction without entries writes no line.

        Args:
            connection: The write transaction.
            step: How far `seq` advances.

        Raises:
            StorageError: A copy cannot be written; the caller must roll back.
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
        """Appends to every copy and returns the path of the first. If one copy fails, the new bytes are removed."""
        self._sync_copies()  # `begin` was not called for a ledger that is being created
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
        """Returns the last intact line. It is read again only when the newest file changed."""
        for path in reversed(files_in(self.folder)):
            identity = _identity(path)
            if self._seen is None or self._seen.identity != identity:
                self._seen = _Seen(identity, last_line(path))
            if self._seen.tail is not None:
                return self._seen.tail
        return None

    def align(self) -> None:
        """Makes both copies hold the same files: a copy that lacks a file, or the end of one, gets it from the other.

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
            remove(folder.glob(f".journal-*{TEMPORARY_MARK}*"))  # left by a copy that was killed
        self._seen, self._is_aligned = None, True

    def _sync_copies(self) -> None:
        """Aligns both copies unless their newest files have equal names and sizes; a missing copy is restored."""
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
    """Returns the journal line that the ledger records as its last."""
    query = "SELECT key, value FROM meta WHERE key IN (?, ?)"
    facts: dict[str, str] = {row[0]: row[1] for row in connection.exec_driver_sql(query, (SEQ_KEY, DIGEST_KEY))}
    return Anchor(int(facts.get(SEQ_KEY, 0)), facts.get(DIGEST_KEY, START))


def sealed_about(ledger_id: str, seq: int, epoch: int) -> bytes:
    """Returns the context to which a sealed list of erased pseudonyms is bound."""
    return f"{ledger_id}|{seq}|{epoch}".encode("ascii")


def _set_anchor(connection: Connection, anchor: Anchor) -> None:
    connection.exec_driver_sql(
        "INSERT INTO meta (key, value) VALUES (?, ?), (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (SEQ_KEY, str(anchor.seq), DIGEST_KEY, anchor.digest),
    )


def _identity(path: Path) -> tuple[str, int, int, int]:
    """Returns an identity of the file that stays the same while nobody writes to it."""
    with storage_errors(path, "read"):
        status = path.stat()
    return path.name, status.st_ino, status.st_size, status.st_mtime_ns


def _name(number: int) -> str:
    return f"journal-{number:06}.jsonl"


def append_line(path: Path, line: bytes) -> None:
    """Appends one line durably. If the file ends in a torn line, that line is ended first."""
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
    """Returns whether the bytes of `path`, if it exists, are the first bytes of `whole`."""
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
