"""The lake: the files of a data folder, the lock for replacing them, and DuckDB over them.

Belongs here: creating the folders, the lake lock, temporary folders and their removal, the catalogue of views. Does not
belong here: the path of a file (`layout`), its bytes (`key_files`), its row in the ledger (`partitions`), counting
(`core.windows`).
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dpdau_assets.errors import StorageError
from dpdau_assets.storage.disk.durable import TEMPORARY_MARK, remove
from dpdau_assets.storage.disk.lock import FileLock, try_lock
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.lake.catalogue import write_catalogue
from dpdau_assets.storage.lake.layout import LOCK, OPEN_FOLDERS, PRIVATE_FOLDERS, Layout
from dpdau_assets.storage.lake.write_batch import WriteBatch

ALIVE_NAME = ".alive"


@dataclass(frozen=True)
class Lake(Layout):
    """A data folder and the limits of the DuckDB connections opened over it.

    Attributes:
        memory_limit: DuckDB's memory limit per connection, such as `1GB`.
        threads: DuckDB's threads per connection; None lets DuckDB decide.
    """

    memory_limit: str = "1GB"
    threads: int | None = None

    def make_folders(self) -> None:
        """Creates the missing folders; existing folders and their permissions do not change.

        Raises:
            StorageError: DATA_DIR cannot be created or written.
        """
        for name in PRIVATE_FOLDERS:
            make_folder(self.root / name, mode=0o700)
        for name in OPEN_FOLDERS:
            make_folder(self.root / name)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StorageError(
                f"DATA_DIR {self.root} is not writable", hint="give this user write access to it, or set DATA_DIR"
            )

    def lock(self, *, timeout_seconds: float | None = None, on_wait: Callable[[str], None] | None = None) -> FileLock:
        """Returns the lake lock. An operation that replaces key-level files holds it from first read to recording."""
        return FileLock(self.lock_path, timeout_seconds=timeout_seconds, on_wait=on_wait)

    @contextmanager
    def temporary_folder(self, purpose: str = "work") -> Iterator[Path]:
        """Makes a folder below tmp/, removed at the end of the block, or by the next sweep if the process is killed."""
        name = f"{purpose}-{os.getpid()}-{os.urandom(4).hex()}"
        folder = self.temporary_root / name
        descriptor = self._make_temporary(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def _make_temporary(self, folder: Path) -> int:
        """Makes `folder` and returns an open descriptor whose lock shows that its owner is alive."""
        make_folder(self.temporary_root)
        with self._sweeping(fcntl.LOCK_SH):
            make_folder(folder, mode=0o700)
            with storage_errors(folder, "write to"):
                descriptor = os.open(folder / ALIVE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor

    @contextmanager
    def _sweeping(self, operation: int) -> Iterator[None]:
        path = self.temporary_root / LOCK
        with storage_errors(path, "lock"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with storage_errors(path, "lock"):
                fcntl.flock(descriptor, operation)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def write_batch(self) -> Iterator[WriteBatch]:
        """Opens a batch of pending files below tmp/ that are moved to their final paths together; see `WriteBatch`."""
        with self.temporary_folder("batch") as scratch, WriteBatch(scratch) as batch:
            yield batch

    def sweep_temporary(self, *, is_thorough: bool = False) -> int:
        """Removes the entries that killed processes left below tmp/ and returns how many it removed.

        Entries of living processes stay. With `is_thorough`, temporary files in lake/ and staging/ are removed as
        well, which requires the lake lock.
        """
        make_folder(self.temporary_root)
        with self._sweeping(fcntl.LOCK_EX):
            removed = sum(_sweep_entry(entry) for entry in sorted(self.temporary_root.iterdir()))
        if is_thorough:
            for place in (self.partitions, self.staging):
                temporary = [
                    Path(folder, entry)
                    for folder, _, entries in os.walk(place)  # this takes half the time of a recursive glob
                    for entry in entries
                    if entry.startswith(".") and TEMPORARY_MARK in entry
                ]
                remove(temporary)
                removed += len(temporary)
        return removed

    def unowned_temporary(self) -> tuple[list[Path], bool]:
        """Returns what killed processes left below tmp/, and whether living processes have entries there."""
        if not self.temporary_root.is_dir():
            return [], False
        with self._sweeping(fcntl.LOCK_EX):
            entries = [entry for entry in sorted(self.temporary_root.iterdir()) if entry.name != LOCK]
            dead = [entry for entry in entries if not _is_owned(entry)]
        return dead, len(dead) < len(entries)

    def write_catalogue(self, path: Path | None = None) -> Path:
        """Writes the catalogue of views and returns its path; see `catalogue.write_catalogue`."""
        return write_catalogue(self.root, path or self.catalogue_path)


def _sweep_entry(entry: Path) -> bool:
    """Removes one entry of tmp/ unless its owner is alive."""
    if entry.name == LOCK or _is_owned(entry):
        return False
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        with suppress(OSError):
            entry.unlink()
    return not entry.exists()


def _is_owned(entry: Path) -> bool:
    """Returns whether the lock of `entry` is held; without a lock, whether the process in its name is alive."""
    try:
        descriptor = os.open(entry / ALIVE_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        match = re.search(r"-(\d+)(?:-|$)", entry.name)
        return match is not None and _is_alive(int(match.group(1)))
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
