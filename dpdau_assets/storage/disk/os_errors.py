"""Turns failed system calls into StorageErrors of one line.

Belongs here: what an OSError means to an operator. Messages contain a path, a reason and the free space, never a value
of the data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dpdau_assets.errors import StorageError


def storage_error(error: OSError, path: Path, action: str) -> StorageError:
    """Returns the one-line error for a failed system call; for a full disk it names the folder and its free space."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"cannot {action} {path}: the disk is full ({_free_megabytes(path)} MB free in {path.parent})",
            hint="free some space or move DATA_DIR to a larger disk, then run the same command again: it continues",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"cannot {action} {path}: {os.strerror(error.errno).lower()}",
            hint=f"give this user write access to {path.parent}, or point DATA_DIR elsewhere",
        )
    reason = os.strerror(error.errno).lower() if error.errno else type(error).__name__
    return StorageError(f"cannot {action} {path}: {reason}", hint=f"check the file system that holds {path.parent}")


def _free_megabytes(path: Path) -> int:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path("/"))
    with suppress(OSError):
        numbers = os.statvfs(folder)
        return numbers.f_bavail * numbers.f_frsize // 1_000_000
    return 0


@contextmanager
def storage_errors(path: Path, action: str) -> Iterator[None]:
    """Turns every OSError of the block into a StorageError that names `path` and `action`."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, action) from error


def make_folder(path: Path, *, mode: int = 0o777) -> Path:
    """Creates the folder `path` with its parents where they are missing, and returns `path`.

    Raises:
        StorageError: The folder cannot be created.
    """
    with storage_errors(path, "create the folder"):
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    return path
