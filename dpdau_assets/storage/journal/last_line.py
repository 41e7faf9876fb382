"""Keeps the number of the journal's last line in a separate file, which shows when ledger and journal are both old.

Belongs here: that one small file, `lake/.journal-end`. It is only evidence: no operation needs it. It is written after
the line, without waiting for the disk, so it never names a line that a crash left unwritten. If neither the journal nor
the ledger holds that number, both were restored from an older copy, or both lost their end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_journal_end(path: Path, *, seq: int, ledger_id: str) -> None:
    """Writes the number of the last line; if the disk refuses it, the file keeps its old number.

    Args:
        path: The file; if its folder does not exist, nothing is written.
        seq: Number of the line.
        ledger_id: The ledger that it belongs to.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, f"{seq:>20} {ledger_id}\n".encode("ascii"), 0)
        finally:
            os.close(descriptor)


def read_journal_end(path: Path, *, ledger_id: str | None) -> int:
    """The number of the last line that was written; 0 if there is no file, or one of another ledger.

    Args:
        path: The file.
        ledger_id: The ledger; None if it is not known, so that a file of any ledger counts.
    """
    try:
        seq, written_id = path.read_bytes().decode("ascii").split()
        return int(seq) if ledger_id in (None, written_id) else 0
    except (OSError, ValueError):
        return 0
