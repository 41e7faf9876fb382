"""What makes two sources the same: their content, how it is read, and the time zone.

Belongs here: the name of a batch. Does not belong here: reading rows (`engines`), recording batches (`storage`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from dpdau_assets.engines.sources.source import Source
from dpdau_assets.errors import InputError

CHUNK_BYTES = 32 << 20
READ_BYTES = 1 << 20
HASH_THREADS = 2


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file changed while it was read (public)."""

    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path, label: str | None = None) -> FileState:
        """The state of `path` now; messages call it `label`, or by its name.

        Raises:
            InputError: The file is gone.
        """
        with suppress(OSError):
            status = path.stat()
            return cls(status.st_ino, status.st_size, status.st_mtime_ns)
        raise InputError(
            f"{label or path.name} went away while it was read", hint="nothing of it was recorded; try again"
        )


def batch_name(source: Source, *, key: bytes, timezone: str) -> str:
    """The name of the batch that `source` makes: the same content, columns and time zone always give the same.

    Guarantee: the name says nothing about the content to who lacks `key`, and two different contents share a name with
    a chance of 2^-128.

    Args:
        source: The source (sensitive content).
        key: The batch key (sensitive).
        timezone: TIMEZONE (public).

    Returns:
        32 hex characters.

    Raises:
        InputError: The file cannot be read to its end.
    """
    columns = source.columns
    identity = [
        _content_digest(source),
        source.size_bytes,
        source.format,
        source.is_compressed,
        columns.user,
        list(columns.times),
        columns.op,
        timezone,
    ]
    return hmac.digest(key, json.dumps(identity).encode(), "sha256").hex()[:32]


def _content_digest(source: Source) -> str:
    """SHA-256 over the BLAKE3 of every piece of `CHUNK_BYTES`: threads share a third of the work of SHA-256."""
    starts = range(0, source.size_bytes, CHUNK_BYTES)
    try:
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with ThreadPoolExecutor(HASH_THREADS) as pool:
                digests = list(pool.map(lambda start: _chunk_digest(descriptor, start), starts))
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "it cannot be read"
        raise InputError(f"cannot read {source.label}: {reason}", hint="nothing of it was recorded") from None
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _chunk_digest(descriptor: int, start: int) -> bytes:
    digest = blake3()
    for position in range(start, start + CHUNK_BYTES, READ_BYTES):
        piece = os.pread(descriptor, READ_BYTES, position)
        digest.update(piece)
        if len(piece) < READ_BYTES:
            break
    return digest.digest()
