"""Writes files that survive a crash: after it a file is either complete and synced under its name, or absent.

Belongs here: temporary names, atomic replacement, fsync of files and folders, digests of files. The content of the
files (keys, tables) belongs to `key_files`.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from dpdau_assets.errors import DataError
from dpdau_assets.storage.disk.os_errors import make_folder, storage_error, storage_errors

TEMPORARY_MARK = ".tmp-"
"""Part of the name of every file that is not at its final path yet."""
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
FSYNC_EACH_LIMIT = 16
_serial = itertools.count()


def write_bytes(path: Path, content: bytes | pa.Buffer, *, mode: int = 0o666) -> str:
    """Replaces `path` by `content`, with the result and guarantees of `write_keys`. The umask narrows `mode`."""
    make_folder(path.parent)
    temporary = path.parent / temporary_name(path)
    digest = write_new(temporary, content, mode=mode)
    replace(temporary, path)
    return digest


def put_durably(path: Path, content: bytes, *, mode: int) -> None:
    """Replaces `path` by `content`; both the file and its name survive a power cut when this returns."""
    temporary = path.parent / temporary_name(path)
    write_new(temporary, content, mode=mode)
    make_durable([temporary])
    replace(temporary, path)
    make_durable([path])


def temporary_name(path: Path) -> str:
    """A hidden name that no other process and no other call uses."""
    return f".{path.name}{TEMPORARY_MARK}{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}"


def write_new(path: Path, content: bytes | pa.Buffer, *, mode: int = 0o666) -> str:
    """Writes a file that must not exist yet and returns its digest; on failure the file is removed.

    Raises:
        StorageError: The disk is full or not writable.
    """
    view = memoryview(content).cast("B")
    with storage_errors(path, "write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            written = 0
            while written < len(view):
                written += os.write(descriptor, view[written : written + (1 << 30)])
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            raise
        os.close(descriptor)
    return hashlib.sha256(view).hexdigest()


def replace(temporary: Path, path: Path) -> None:
    """Moves `temporary` to `path` at once; on failure `temporary` is removed."""
    with storage_errors(path, "replace"):
        try:
            os.replace(temporary, path)  # noqa: PTH105 - tests inject faults at the os level
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def link_or_copy_new(source: Path, temporary: Path) -> None:
    """Makes `temporary`, a name that must not exist yet, a hard link to `source`, or a copy where links fail."""
    try:
        os.link(source, temporary)
    except FileNotFoundError:
        raise missing_file(source) from None
    except OSError:
        write_new(temporary, read_bytes(source))


def read_bytes(path: Path, *, digest: str | None = None) -> bytes:
    """The bytes of a recorded file, checked against `digest` when given.

    Raises:
        DataError: The file is missing, or its bytes are not those recorded.
        StorageError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError as error:
        raise storage_error(error, path, "read") from error
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DataError(
            f"{path} does not hold the bytes that the ledger recorded", hint="run `dpdau rebuild` over that day"
        )
    return content


def missing_file(path: Path) -> DataError:
    """The error for a recorded file that is not there."""
    return DataError(f"{path} is recorded but does not exist", hint="run `dpdau rebuild` over that day")


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hex characters; errors as `read_bytes`."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError as error:
        raise storage_error(error, path, "read") from error


def has_digest(path: Path, digest: str) -> bool:
    """Returns whether a file exists and holds the recorded bytes. Raises StorageError if it cannot be read."""
    return path.is_file() and file_digest(path) == digest


def remove(paths: Iterable[Path]) -> None:
    """Removes files. A file that is already gone is no error, so a repeat after a crash is harmless."""
    for path in paths:
        with storage_errors(path, "remove"):
            path.unlink(missing_ok=True)


def make_durable(paths: Iterable[Path]) -> None:
    """Makes the files and their names survive a power cut.

    Up to 16 files are synchronised one by one with their folders; more files are synchronised by one `syncfs` of their
    file system.

    Raises:
        StorageError: A file or folder cannot be synchronised.
    """
    chosen = list(paths)
    folders = {path.parent for path in chosen}
    if len(chosen) <= FSYNC_EACH_LIMIT or not _sync_file_systems(folders):
        _sync_each([*chosen, *sorted(folders)])


def make_names_durable(folders: set[Path]) -> None:
    """Makes the names in `folders`, and the folders' own names, survive a power cut."""
    if len(folders) <= FSYNC_EACH_LIMIT or not _sync_file_systems(folders):
        _sync_each(sorted(folders | {folder.parent for folder in folders}))


def _sync_each(paths: Iterable[Path]) -> None:
    for path in paths:
        with storage_errors(path, "make durable"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_file_systems(folders: Iterable[Path]) -> bool:
    """Calls syncfs once per file system. Returns False where the platform has no syncfs."""
    syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    seen: set[int] = set()
    for folder in folders:
        with storage_errors(folder, "make durable"):
            device = folder.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if syncfs(descriptor) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)
    return True
