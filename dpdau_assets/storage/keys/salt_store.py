"""The salt store holds the secrets that pseudonyms are made with, in one file that only its owner can read.

Belongs here: deriving epoch keys, rotating manually, destroying old epochs. Does not belong here: the derivations
themselves (`core.hashing`), the file (`salt_file`). Nothing in this module prints a secret: the repr of `SaltStore`
shows none of its content.

The store holds the lowest epoch secret that still exists, and the first secret after each manual rotation. The ratchet
derives every later secret from the nearest one before it; no earlier secret can be derived.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dpdau_assets.core.hashing import SECRET_BYTES, EpochCalendar, Segment, epoch_key, ratchet
from dpdau_assets.errors import ConfigurationError, DataError, SaltStoreMismatchError
from dpdau_assets.storage.keys import salt_file
from dpdau_assets.storage.keys.salt_file import HandRotation, SaltDocument, segment_fields

BATCH_KEY_PURPOSE = b"dpdau/batch-key"


@dataclass(frozen=True, slots=True)
class RotationRecord:
    """One manual rotation, as it may be written down (public).

    Attributes:
        made_at: UTC ISO time.
        effective: First day of its first epoch.
        epoch: Number of that epoch.
        rotation_days: Days an epoch lasts from then on.
        fingerprint: The store's fingerprint from then on.
    """

    made_at: str
    effective: date
    epoch: int
    rotation_days: int
    fingerprint: str


class SaltStore:
    """The epoch calendar and the keys of its epochs. It prints as nothing.

    Args:
        document: Its content; sensitive.

    Attributes:
        calendar: Which epoch a day belongs to (public).
        batch_key: Key of batch names, 32 bytes (sensitive).
    """

    def __init__(self, document: SaltDocument) -> None:
        self.calendar = document.calendar
        self.batch_key = document.batch_key
        self._hold(document)

    def _hold(self, document: SaltDocument) -> None:
        self._document = document
        self._secrets = dict(document.secrets)
        self._keys: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return "SaltStore(...)"

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create_secret: bytes | None,
        rotation_days: int,
        may_create: bool = True,
        recorded: str | None = None,
        lowest_epoch: int = 0,
    ) -> SaltStore:
        """Returns the store at `path`; it is created once, even if many processes ask at the same time.

        If the ledger recorded a rotation or a destruction that a crash interrupted, it is completed.

        Args:
            path: `DATA_DIR/secrets/salts.json`.
            create_secret: HASH_SALT_SECRET as bytes, any length above 0 (see `secret_from_text`); None makes a
                random one. Sensitive. When the store exists it must be the secret it was created from.
            rotation_days: HASH_SALT_ROTATION_DAYS, days an epoch lasts, at least 1; public.
            may_create: Whether a missing store may be created; False once data exists that depends on it.
            recorded: The fingerprint in the ledger, None when it has none.
            lowest_epoch: The ledger records that the epochs below this one were destroyed.

        Raises:
            ConfigurationError: The file can be read by others, `create_secret` or `rotation_days` disagrees with it, or
                it is missing and must not be created.
            DataError: The file is damaged.
            StorageError: It cannot be written or read.
        """
        if not path.exists():
            if not may_create:
                raise SaltStoreMismatchError(
                    f"{path} is missing, and the stored pseudonyms cannot be continued without it",
                    hint="put the file back from your copy of DATA_DIR/secrets, or `dpdau salts import FILE`",
                )
            salt_file.create(path, lambda: _new_document(create_secret, rotation_days))
        store = cls(salt_file.read(path))
        if recorded is not None and store.fingerprint() != recorded:
            salt_file.take_pending(path, is_wanted=lambda one: cls(one).fingerprint() == recorded)
            store = cls(salt_file.read(path))
        if store.lowest_epoch < lowest_epoch:
            store.destroy_below(lowest_epoch, path=path)
        store._check(create_secret, rotation_days)
        return store

    def document(self) -> SaltDocument:
        """The store's content; sensitive."""
        return self._document

    @property
    def lowest_epoch(self) -> int:
        """The first epoch whose secret still exists (public)."""
        return min(self._document.secrets)

    def epoch_key(self, epoch: int) -> bytes:
        """The key of `epoch`'s pseudonyms: 64 ASCII hex characters; sensitive; derived once.

        Raises:
            DataError: The epoch's secret was destroyed.
        """
        if epoch not in self._keys:
            self._keys[epoch] = epoch_key(self._secret(epoch))
        return self._keys[epoch]

    def fingerprint(self) -> str:
        """Returns 16 hex characters that tell two stores apart without revealing anything about their secrets.

        Every rotation changes them; a destruction of old epochs does not.
        """
        return self._fingerprint_with(len(self.calendar.segments))

    def identity(self) -> str:
        """Returns a fingerprint that stays the same for the life of the store."""
        return self._mark(b"dpdau/identity")

    def rotated(self, effective: date, *, rotation_days: int, secret: bytes | None, made_at: str) -> SaltStore:
        """Returns a store with one more manual rotation; this object does not change.

        Args:
            effective: First day of the new epoch; later than the first day of the newest segment (public).
            rotation_days: Days an epoch lasts from then on, at least 1 (public).
            secret: What the new epoch's secret is derived from, None for a random one; sensitive. It does not depend on
                earlier epochs, so nobody can compute it from their secrets.
            made_at: UTC ISO time.
        """
        number = self.calendar.epoch_of(effective - timedelta(days=1)) + 1
        fresh = secrets.token_bytes(SECRET_BYTES) if secret is None else _manual_secret(secret, effective, number)
        calendar = EpochCalendar((*self.calendar.segments, Segment(number, effective, rotation_days)))
        rotation = HandRotation(self._secret_mark(fresh), made_at)
        held, rotations = {**self._document.secrets, number: fresh}, {**self._document.rotations, number: rotation}
        return SaltStore(replace(self._document, calendar=calendar, secrets=held, rotations=rotations))

    def has_rotation(self, effective: date, *, rotation_days: int, secret: bytes | None) -> bool:
        """Returns whether the newest manual rotation is this one; if `secret` is None, it may have any secret."""
        last = self.calendar.segments[-1]
        known = self._document.rotations.get(last.epoch)
        if known is None or (last.first_day, last.rotation_days) != (effective, rotation_days):
            return False
        return secret is None or hmac.compare_digest(
            known.mark, self._secret_mark(_manual_secret(secret, effective, last.epoch))
        )

    def rotations(self) -> list[RotationRecord]:
        """The manual rotations, oldest first (public)."""
        return [
            RotationRecord(
                self._document.rotations[part.epoch].made_at,
                part.first_day,
                part.epoch,
                part.rotation_days,
                self._fingerprint_with(number),
            )
            for number, part in enumerate(self.calendar.segments, start=1)
            if part.epoch in self._document.rotations
        ]

    def destroy_below(self, epoch: int, *, path: Path) -> bool:
        """Removes the secrets of all epochs before `epoch` from this object, and permanently from the file at `path`.

        Guarantee: afterwards the key of an earlier epoch cannot be computed from either. The guarantee does not cover
        copies, exports and HASH_SALT_SECRET, if somebody still knows it.

        Args:
            epoch: The lowest epoch that stays; its secret is derived first.
            path: The store.

        Returns:
            Whether there was anything to destroy.
        """
        if epoch <= self.lowest_epoch:
            return False
        self._hold(self._shortened(epoch))

        def shorten(document: SaltDocument) -> SaltDocument | None:
            held = SaltStore(document)
            return None if held.lowest_epoch >= epoch else held._shortened(epoch)

        salt_file.trim(path, shorten)
        return True

    def without_epochs_below(self, epoch: int) -> SaltStore:
        """Returns a store without the secrets of all epochs before `epoch`; this object does not change."""
        return self if epoch <= self.lowest_epoch else SaltStore(self._shortened(epoch))

    def _shortened(self, epoch: int) -> SaltDocument:
        later = {number: secret for number, secret in self._document.secrets.items() if number > epoch}
        return replace(self._document, secrets={epoch: self._secret(epoch), **later})

    def _fingerprint_with(self, segments: int) -> str:
        """Returns the fingerprint that the store had when it had that many segments."""
        fields: list[dict[str, Any]] = segment_fields(self.calendar)[:segments]
        for part in fields:
            rotation = self._document.rotations.get(part["epoch"])
            if rotation is not None:
                part["mark"] = rotation.mark
        return self._mark(b"dpdau/fingerprint/" + json.dumps(fields).encode())

    def _secret_mark(self, secret: bytes) -> str:
        return self._mark(b"dpdau/rotation/" + secret)

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
        if not hmac.compare_digest(_derive(first_secret(create_secret), BATCH_KEY_PURPOSE), self.batch_key):
            raise ConfigurationError(
                "HASH_SALT_SECRET is not the secret that this data folder was created with",
                hint="remove HASH_SALT_SECRET from .env and the environment: it is read at creation only",
            )


def first_secret(create_secret: bytes) -> bytes:
    """The secret of epoch 0: 32 bytes; sensitive.

    Args:
        create_secret: Any bytes, at least one; sensitive. The secrecy of the pseudonyms rests on its entropy alone.
    """
    return _derive(create_secret, b"dpdau/secret-0")


def _derive(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=SECRET_BYTES, salt=None, info=purpose).derive(secret)


def _new_document(create_secret: bytes | None, rotation_days: int) -> SaltDocument:
    zero = secrets.token_bytes(SECRET_BYTES) if create_secret is None else first_secret(create_secret)
    return SaltDocument(EpochCalendar.every(rotation_days), {0: zero}, {}, _derive(zero, BATCH_KEY_PURPOSE))


def _manual_secret(secret: bytes, effective: date, number: int) -> bytes:
    """The secret of an epoch that a manual rotation begins: 32 bytes; sensitive."""
    return _derive(secret, b"dpdau/rotation/" + effective.isoformat().encode() + b"/" + str(number).encode())
