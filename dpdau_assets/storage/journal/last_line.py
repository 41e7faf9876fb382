"""The number of the journal's last line, once more outside of it: it tells when both ledger and journal are old.

Belongs here: that one small file, `lake/.journal-end`. It is evidence and nothing hangs on it: it is written after the
line, without waiting for the disk, so it never names a line that a crash left unwritten. A number that neither the
journal nor the ledger reaches means that both were put back from an older copy, or that both lost their end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def note_end(path: Path, *, seq: int, ledger_id: str) -> None:
    """Notes the last line; where that is refused the note stays what it was.

    Args:
        path: The file; its folder exists or nothing is noted.
        seq: Number of the line.
        ledger_id: The ledger that it belongs to.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, f"{seq:>20} {ledger_id}\n".encode("ascii"), 0)
        finally:
            os.close(descriptor)


def noted_end(path: Path, *, ledger_id: str | None) -> int:
    """The last line that was noted; 0 when there is no note, or one of another ledger.

    Args:
        path: The file.
        ledger_id: The ledger; None when it is not known, so that any note counts.
    """
    try:
        seq, noted_id = path.read_bytes().decode("ascii").split()
        return int(seq) if ledger_id in (None, noted_id) else 0
    except (OSError, ValueError):
        return 0
