"""The file of the salt store: its format, its permissions, and how it is replaced and wiped.

Belongs here: `secrets/salts.json` and, beside it, the file of a rotation under way. The meaning of the secrets belongs
to `salt_store`. The file has this form:

    {"version": 1,
     "segments": [{"epoch": 0, "first_day": "1970-01-01", "rotation_days": 90},
                  {"epoch": 230, "first_day": "2026-09-01", "rotation_days": 90, "mark": "...", "made_at": "..."}],
     "secrets": {"0": "<64 hex>", "230": "<64 hex>"}, "batch_key": "<64 hex>"}

A rotation writes `salts.next.json`, lets the ledger record its fingerprint, and only then moves it to `salts.json`. A
process that opens the store meanwhile, or after a crash, learns from the ledger which of the two files is the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dpdau_assets.core.hashing import SECRET_BYTES, EpochCalendar, Segment
from dpdau_assets.errors import ConfigurationError, SaltStoreDamagedError, SaltStoreMismatchError
from dpdau_assets.storage.disk.durable import TEMPORARY_MARK, make_durable, put_durably, read_bytes, temporary_name
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.lake.layout import LOCK

STORE_VERSION = 1
FILE_MODE = 0o600
FOLDER_MODE = 0o700
PENDING_NAME = "salts.next.json"
READ_ATTEMPTS = 5
LOCK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class HandRotation:
    """The facts that are kept about a manual rotation.

    Attributes:
        mark: Tells two secrets of its first epoch apart without revealing anything about them.
        made_at: UTC ISO time of the rotation.
    """

    mark: str
    made_at: str


@dataclass(frozen=True, slots=True, repr=False)
class SaltDocument:
    """The content of the file. It is sensitive and prints as nothing.

    Attributes:
        calendar: Which epoch a day belongs to (public).
        secrets: The secret of the lowest epoch that is left, and of the first epoch after each manual rotation.
        rotations: The manual rotations, by their first epoch; they stay when their secrets are destroyed.
        batch_key: Key of batch names.
    """

    calendar: EpochCalendar
    secrets: Mapping[int, bytes]
    rotations: Mapping[int, HandRotation]
    batch_key: bytes

    def to_bytes(self) -> bytes:
        """The file's bytes."""
        segments: list[dict[str, Any]] = []
        for part, fields in zip(self.calendar.segments, segment_fields(self.calendar), strict=True):
            manual = self.rotations.get(part.epoch)
            segments.append({**fields, **({"mark": manual.mark, "made_at": manual.made_at} if manual else {})})
        document = {
            "version": STORE_VERSION,
            "segments": segments,
            "secrets": {str(epoch): secret.hex() for epoch, secret in sorted(self.secrets.items())},
            "batch_key": self.batch_key.hex(),
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, content: bytes) -> SaltDocument:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: The bytes are no salt store.
        """
        try:
            document = json.loads(content)
            if document["version"] != STORE_VERSION:
                raise ValueError
            parts = document["segments"]
            calendar = EpochCalendar(
                tuple(
                    Segment(int(part["epoch"]), date.fromisoformat(part["first_day"]), int(part["rotation_days"]))
                    for part in parts
                )
            )
            rotations = {
                int(part["epoch"]): HandRotation(str(part["mark"]), str(part["made_at"]))
                for part in parts
                if "mark" in part
            }
            by_epoch = {int(epoch): bytes.fromhex(secret) for epoch, secret in document["secrets"].items()}
            batch_key = bytes.fromhex(document["batch_key"])
        except (KeyError, TypeError, AttributeError, ConfigurationError):
            raise ValueError from None
        if not by_epoch or any(len(secret) != SECRET_BYTES for secret in (*by_epoch.values(), batch_key)):
            raise ValueError
        return cls(calendar, by_epoch, rotations, batch_key)


def segment_fields(calendar: EpochCalendar) -> list[dict[str, Any]]:
    """The segments of a calendar as JSON objects (public)."""
    return [
        {"epoch": part.epoch, "first_day": part.first_day.isoformat(), "rotation_days": part.rotation_days}
        for part in calendar.segments
    ]


def read(path: Path) -> SaltDocument:
    """The store at `path`.

    Raises:
        SaltStoreMismatchError: Others can read the file or change its folder.
        SaltStoreDamagedError: It is damaged.
        StorageError: It cannot be read.
    """
    for _ in range(READ_ATTEMPTS):
        refuse_open_permissions(path)
        with storage_errors(path, "read"):
            before = path.stat().st_ino
        content = read_bytes(path)
        try:
            return SaltDocument.from_bytes(content)
        except ValueError:
            with storage_errors(path, "read"):
                if path.stat().st_ino != before:
                    continue  # the file was replaced, and the old one wiped, while it was read
            break
    raise SaltStoreDamagedError(
        f"{path} is damaged or of another version", hint="put it back from your copy, or `dpdau salts import FILE`"
    )


def create(path: Path, make: Callable[[], SaltDocument]) -> None:
    """Writes a store unless there is one already, such as one that another process has just written."""
    make_folder(path.parent.parent)
    with _locked(path):
        if not path.exists():
            put_durably(path, make().to_bytes(), mode=FILE_MODE)


def put(path: Path, document: SaltDocument) -> None:
    """Replaces the store, and wipes the file that it replaces."""
    with _locked(path), _WipedAfterwards(path):
        put_durably(path, document.to_bytes(), mode=FILE_MODE)


def put_pending(path: Path, document: SaltDocument) -> None:
    """Writes durably the store that is to replace the one at `path` once the ledger has recorded it."""
    with _locked(path), _WipedAfterwards(pending_path(path)):
        put_durably(pending_path(path), document.to_bytes(), mode=FILE_MODE)


def take_pending(path: Path, *, is_wanted: Callable[[SaltDocument], bool]) -> bool:
    """Moves the file of a rotation under way into place if `is_wanted` accepts it; returns whether there was one.

    That file holds every secret of the file that it replaces.
    """
    with _locked(path):
        pending = pending_path(path)
        if not pending.exists():
            return False
        try:
            document = SaltDocument.from_bytes(read_bytes(pending))
        except ValueError:
            return False
        if is_wanted(document):
            with _WipedAfterwards(path), storage_errors(path, "replace"):
                # `replace` would remove a file that it cannot move, and this is the only copy
                os.replace(pending, path)  # noqa: PTH105 - tests inject faults at the os level
                make_durable([path])
            return True
    return False


def trim(path: Path, shorten: Callable[[SaltDocument], SaltDocument | None]) -> bool:
    """Replaces the store by the result of `shorten` and wipes every older file.

    Args:
        path: The store.
        shorten: Returns the store without some of its secrets, or None to change nothing.

    Returns:
        Whether it was replaced.
    """
    with _locked(path):
        shorter = shorten(read(path))
        if shorter is None:
            return False
        with _WipedAfterwards(path):
            put_durably(path, shorter.to_bytes(), mode=FILE_MODE)
        _wipe_temporary(path)
    return True


def wipe_temporary(path: Path) -> None:
    """Wipes the file of a rotation that never took place, and the files that a killed process left beside the store."""
    with _locked(path):
        _wipe_temporary(path)


def _wipe_temporary(path: Path) -> None:
    found = [one for one in (pending_path(path), *path.parent.glob(f".*{TEMPORARY_MARK}*")) if one.exists()]
    for left in found:
        _wipe(left, unless=path)
    if found:
        make_durable([path])


def pending_path(path: Path) -> Path:
    """Returns the path where a rotation keeps the store that is to replace the one at `path`."""
    return path.parent / PENDING_NAME


def refuse_open_permissions(path: Path) -> None:
    """Raises SaltStoreMismatchError unless only the owner can read `path` and change its folder."""
    with storage_errors(path, "read"):
        file_mode, folder_mode = path.stat().st_mode, path.parent.stat().st_mode
    if file_mode & 0o077:
        raise SaltStoreMismatchError(f"{path} can be read by others", hint=f"chmod 600 '{path}'")
    if folder_mode & 0o022:
        raise SaltStoreMismatchError(f"{path.parent} can be changed by others", hint=f"chmod 700 '{path.parent}'")


def _locked(path: Path) -> FileLock:
    make_folder(path.parent, mode=FOLDER_MODE)
    return FileLock(path.parent / LOCK, timeout_seconds=LOCK_SECONDS)


class _WipedAfterwards:
    """Overwrites, after the block, the file that was at `path` before it: its secrets must not stay on the disk.

    Meanwhile the file has a second name, by which `wipe_temporary` finds it if the process is killed. Copy-on-write
    file systems write the new bytes elsewhere and keep the old ones for a while; this package cannot prevent that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = path.parent / temporary_name(path)
        self._descriptor: int | None = None

    def __enter__(self) -> None:
        if self._path.exists():
            with storage_errors(self._path, "open"):
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            with suppress(OSError):  # the file system supports no hard links
                os.link(self._path, self._left)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._descriptor is None:
            return
        with storage_errors(self._path, "wipe"):
            try:
                if kind is None:
                    _overwrite(self._descriptor)
            finally:
                os.close(self._descriptor)
            if kind is None or _is_same_file(self._left, self._path):
                self._left.unlink(missing_ok=True)


def _wipe(left: Path, *, unless: Path) -> None:
    """Overwrites and removes a file; if `left` is a second name of the file at `unless`, only that name is removed."""
    with storage_errors(left, "wipe"):
        if not _is_same_file(left, unless):
            descriptor = os.open(left, os.O_WRONLY | os.O_CLOEXEC)
            try:
                _overwrite(descriptor)
            finally:
                os.close(descriptor)
        left.unlink()


def _overwrite(descriptor: int) -> None:
    os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
    os.fsync(descriptor)


def _is_same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
