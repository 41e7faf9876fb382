"""The salt store: the secrets that pseudonyms are made with, in one file only its owner can read.

Belongs here: creating, checking and reading `secrets/salts.json`, and deriving epoch keys from it. Does not belong
here: the derivations themselves (`core.hashing`). Nothing of this module prints a secret; `SaltStore` has no repr of
its content. The file:

    {"version": 1, "segments": [{"epoch": 0, "first_day": "1970-01-01", "rotation_days": 90}],
     "secrets": {"0": "<64 hex>"}, "batch_key": "<64 hex>"}

`secrets` holds the lowest epoch secret that still exists; every later one follows from it by the ratchet, no earlier
one can be derived.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
from datetime import date
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dpdau_assets.core.hashing import SECRET_BYTES, EpochCalendar, Segment, epoch_key, ratchet
from dpdau_assets.errors import ConfigurationError, DataError
from dpdau_assets.storage.faults import make_folder, storage_errors
from dpdau_assets.storage.files import make_durable, read_bytes, temporary_name, write_new
from dpdau_assets.storage.lock import FileLock

STORE_VERSION = 1
FILE_MODE = 0o600
FOLDER_MODE = 0o700


class SaltStore:
    """The epoch calendar and the keys below it; prints as nothing.

    Attributes:
        calendar: Which epoch a day belongs to (public).
        batch_key: Key of batch names, 32 bytes (sensitive).
    """

    def __init__(self, calendar: EpochCalendar, secrets_by_epoch: dict[int, bytes], *, batch_key: bytes) -> None:
        self.calendar = calendar
        self.batch_key = batch_key
        self._secrets = dict(secrets_by_epoch)
        self._lowest_epoch = min(secrets_by_epoch)
        self._keys: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return "SaltStore(...)"

    @classmethod
    def open(cls, path: Path, *, create_secret: bytes | None, rotation_days: int, may_create: bool = True) -> SaltStore:
        """The store at `path`, created once however many processes ask at the same time.

        Args:
            path: `DATA_DIR/secrets/salts.json`.
            create_secret: HASH_SALT_SECRET as bytes, any length above 0 (see `secret_from_text`); None makes a
                random one. Sensitive. When the store exists it must be the secret it was created from.
            rotation_days: HASH_SALT_ROTATION_DAYS, days an epoch lasts, at least 1; public.
            may_create: Whether a missing store may be created; False once data exists that depends on it.

        Raises:
            ConfigurationError: The file can be read by others, `create_secret` or `rotation_days` disagrees with it, or
                it is missing and must not be created.
            DataError: The file is damaged.
            StorageError: It cannot be written or read.
        """
        if not path.exists():
            if not may_create:
                raise ConfigurationError(
                    f"{path} is missing, and the stored pseudonyms cannot be continued without it",
                    hint="put the file back from your copy of DATA_DIR/secrets",
                )
            _create(path, create_secret, rotation_days)
        store = _read(path)
        store._check(create_secret, rotation_days)
        return store

    @property
    def lowest_epoch(self) -> int:
        """The first epoch whose secret still exists (public)."""
        return self._lowest_epoch

    def epoch_key(self, epoch: int) -> bytes:
        """The key of `epoch`'s pseudonyms: 64 ASCII hex characters; sensitive; derived once.

        Raises:
            DataError: The epoch's secret was destroyed.
        """
        if epoch not in self._keys:
            self._keys[epoch] = epoch_key(self._secret(epoch))
        return self._keys[epoch]

    def fingerprint(self) -> str:
        """What tells two stores apart without giving anything away: 16 hex characters; changes with every rotation."""
        return self._mark(b"dpdau/fingerprint/" + json.dumps(_segments_document(self.calendar)).encode())

    def identity(self) -> str:
        """As `fingerprint`, but the same for the whole life of the store."""
        return self._mark(b"dpdau/identity")

    def _mark(self, purpose: bytes) -> str:
        return hmac.new(self.batch_key, purpose, hashlib.sha256).hexdigest()[:16]

    def _secret(self, epoch: int) -> bytes:
        if epoch < self.lowest_epoch:
            raise DataError(
                f"the secret of salt epoch {epoch} was destroyed; its days can no longer be keyed",
                hint=f"days before {self.calendar.first_day(self.lowest_epoch)} are closed for good",
            )
        known = epoch
        while known not in self._secrets:
            known -= 1
        for number in range(known + 1, epoch + 1):
            self._secrets[number] = ratchet(
                self._secrets[number - 1], day=self.calendar.first_day(number), number=number
            )
        return self._secrets[epoch]

    def _check(self, create_secret: bytes | None, rotation_days: int) -> None:
        stored_days = self.calendar.segments[-1].rotation_days
        if rotation_days != stored_days:
            raise ConfigurationError(
                f"HASH_SALT_ROTATION_DAYS is {rotation_days}, but the stored pseudonyms use {stored_days}",
                hint=f"set HASH_SALT_ROTATION_DAYS={stored_days}: raw ids are gone and nothing can be keyed again",
            )
        if create_secret is None:
            return
        first = SaltStore(self.calendar, {0: first_secret(create_secret)}, batch_key=b"")
        lowest = self.lowest_epoch
        if not hmac.compare_digest(first._secret(lowest), self._secrets[lowest]):
            raise ConfigurationError(
                "HASH_SALT_SECRET is not the secret that this data folder was created with",
                hint="remove HASH_SALT_SECRET from .env and the environment: it is read at creation only",
            )


def secret_from_text(text: str) -> bytes:
    """HASH_SALT_SECRET as bytes: the UTF-8 of any text, or the decoded rest of `b64:...`.

    Raises:
        ConfigurationError: It is empty, or not base64 after `b64:`.
    """
    try:
        secret = base64.b64decode(text[4:], validate=True) if text.startswith("b64:") else text.encode("utf-8")
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            "HASH_SALT_SECRET is not valid base64 after b64:", hint="for example b64:$(openssl rand -base64 32)"
        ) from None
    if not secret:
        raise ConfigurationError("HASH_SALT_SECRET is empty", hint="remove the line, or give it a value")
    return secret


def first_secret(create_secret: bytes) -> bytes:
    """The secret of epoch 0: 32 bytes; sensitive.

    Args:
        create_secret: Any bytes, at least one; sensitive. Its entropy is all the secrecy the pseudonyms have.
    """
    return _derive(create_secret, b"dpdau/secret-0")


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=SECRET_BYTES, salt=None, info=purpose).derive(secret)


def _create(path: Path, create_secret: bytes | None, rotation_days: int) -> None:
    make_folder(path.parent.parent)
    make_folder(path.parent, mode=FOLDER_MODE)
    with FileLock(path.parent / ".lock", timeout_seconds=60):
        if path.exists():
            return
        zero = secrets.token_bytes(SECRET_BYTES) if create_secret is None else first_secret(create_secret)
        document = {
            "version": STORE_VERSION,
            "segments": _segments_document(EpochCalendar.every(rotation_days)),
            "secrets": {"0": zero.hex()},
            "batch_key": _derive(zero, b"dpdau/batch-key").hex(),
        }
        temporary = path.parent / temporary_name(path)
        write_new(temporary, json.dumps(document, indent=1).encode() + b"\n", mode=FILE_MODE)
        make_durable([temporary])
        with storage_errors(path, "write"):
            os.replace(temporary, path)  # noqa: PTH105 - one spelling of rename in this package
        make_durable([path])


def _segments_document(calendar: EpochCalendar) -> list[dict[str, Any]]:
    return [
        {"epoch": part.epoch, "first_day": part.first_day.isoformat(), "rotation_days": part.rotation_days}
        for part in calendar.segments
    ]


def _read(path: Path) -> SaltStore:
    _refuse_open_permissions(path)
    content = read_bytes(path)
    try:
        document = json.loads(content)
        if document["version"] != STORE_VERSION:
            raise ValueError
        segments = tuple(
            Segment(int(part["epoch"]), date.fromisoformat(part["first_day"]), int(part["rotation_days"]))
            for part in document["segments"]
        )
        by_epoch = {int(epoch): bytes.fromhex(secret) for epoch, secret in document["secrets"].items()}
        batch_key = bytes.fromhex(document["batch_key"])
        if not by_epoch or any(len(secret) != SECRET_BYTES for secret in (*by_epoch.values(), batch_key)):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is damaged or of another version", hint="put it back from your copy") from None
    return SaltStore(EpochCalendar(segments), by_epoch, batch_key=batch_key)


def _refuse_open_permissions(path: Path) -> None:
    with storage_errors(path, "read"):
        file_mode, folder_mode = path.stat().st_mode, path.parent.stat().st_mode
    if file_mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others", hint=f"chmod 600 '{path}'")
    if folder_mode & 0o022:
        raise ConfigurationError(f"{path.parent} can be changed by others", hint=f"chmod 700 '{path.parent}'")
