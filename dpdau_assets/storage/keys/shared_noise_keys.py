"""Keeps the keys of encrypted shared noise: one random key file per budget account, outside ledger and backups.

Belongs here: encrypting an account's shared noise, decrypting it, destroying its key. Does not belong here: when a key
is destroyed (`operations.budget.shared_noise`) and what the noise is for (`core.mechanisms.correlated`).

`secrets/offsets/<ledger>-<account>.key` holds 32 random bytes; the file has mode 0600, its folder 0700. The ledger
holds the noise encrypted under that key (AES-256-GCM), bound to ledger, account, metric, period and version. The key or
the ledger alone reveals nothing, and once the key is gone the noise is gone from every copy of the ledger.
A key that cannot decrypt the noise counts as missing.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dpdau_assets.errors import ConfigurationError
from dpdau_assets.storage.disk.durable import make_names_durable, put_durably, remove
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.ledger.accounts import Account

SEAL_VERSION = 1
FILE_MODE, FOLDER_MODE = 0o600, 0o700
KEY_BYTES, NONCE_BYTES, SHARED_NOISE_BYTES = 32, 12, 16


class SharedNoiseKeys:
    """The key files of one ledger's accounts.

    Args:
        folder: `DATA_DIR/secrets/offsets`.
        ledger_id: The ledger's name; keys of another ledger are left alone.
    """

    def __init__(self, folder: Path, ledger_id: str) -> None:
        self._folder = folder
        self._ledger_id = ledger_id

    def path(self, account: int) -> Path:
        """Returns the path of an account's key."""
        return self._folder / f"{self._ledger_id}-{account}.key"

    def can_open(self, account: Account) -> bool:
        """Returns whether an account has encrypted shared noise and a key that decrypts it."""
        return self._unseal(account) is not None

    def kept(self) -> set[int]:
        """Returns the accounts of this ledger whose key still exists."""
        pattern = re.compile(re.escape(self._ledger_id) + r"-(\d+)\.key")
        with storage_errors(self._folder, "read"):
            names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        return {int(found.group(1)) for name in names if (found := pattern.fullmatch(name))}

    def seal(self, account: Account, shared_noise: int) -> str:
        """Returns the shared noise encrypted under a new key, whose file is durable when this returns.

        A key under the same number is replaced, which makes the noise under the old key unreadable: that of a
        transaction that was rolled back, or, if the present transaction is rolled back, the account's own.

        Args:
            account: The account, as it is numbered in the transaction that stores the result.
            shared_noise: The noise (sensitive).

        Raises:
            StorageError: The key cannot be written.
        """
        key, nonce, path = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(NONCE_BYTES), self.path(account.account)
        make_folder(path.parent, mode=FOLDER_MODE)
        put_durably(path, key, mode=FILE_MODE)
        make_names_durable({path.parent})
        plain = shared_noise.to_bytes(SHARED_NOISE_BYTES, "big", signed=True)
        sealed = nonce + AESGCM(key).encrypt(nonce, plain, self._about(account))
        return base64.b64encode(sealed).decode("ascii")

    def open(self, account: Account) -> int | None:
        """Returns an account's shared noise (sensitive); None if it has none, or if its key is gone or was replaced.

        Raises:
            ConfigurationError: Others can read the key.
            StorageError: The key cannot be read.
        """
        path, shared_noise = self.path(account.account), self._unseal(account)
        if shared_noise is not None:
            with storage_errors(path, "read"):
                is_open_to_others = path.stat().st_mode & 0o077
            if is_open_to_others:
                raise ConfigurationError(f"{path} can be read by others", hint=f"chmod 600 '{path}'")
        return shared_noise

    def destroy(self, accounts: Iterable[int]) -> None:
        """Removes the keys of some accounts permanently; a key that is already gone is no error.

        The bytes are overwritten first; a disk that writes new bytes elsewhere may keep the old ones.

        Raises:
            StorageError: A key cannot be removed.
        """
        paths = [path for path in map(self.path, accounts) if path.exists()]
        for path in paths:
            with storage_errors(path, "overwrite"), path.open("r+b") as stream:
                stream.write(bytes(KEY_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
        remove(paths)
        if paths:
            make_names_durable({self._folder})

    def _unseal(self, account: Account) -> int | None:
        """Returns the shared noise; None also if a crash left another key, or key, text or account was altered."""
        path = self.path(account.account)
        if account.sealed_offset is None:
            return None
        try:
            with storage_errors(path, "read"), suppress(FileNotFoundError):
                sealed = base64.b64decode(account.sealed_offset, validate=True)
                cipher = AESGCM(path.read_bytes())
                plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._about(account))
                return int.from_bytes(plain, "big", signed=True)
        except (InvalidTag, ValueError):
            pass
        return None

    def _about(self, account: Account) -> bytes:
        parts = (self._ledger_id, account.account, account.metric, account.period, SEAL_VERSION)
        return "|".join(map(str, parts)).encode("ascii")
