"""Makes and reads copies of the salt store that may leave the machine, encrypted under a passphrase.

Belongs here: the format of such a copy. Which copies may be imported belongs to `operations/salt_copies`. The key is
scrypt of the passphrase (128 MiB, so that guessing is expensive). AES-256-GCM encrypts the store with the rest of the
document as associated data, so that no part of it can be changed unnoticed.

Reference: RFC 7914, NIST SP 800-38D.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dpdau_assets.errors import InputError
from dpdau_assets.storage.keys.salt_file import SaltDocument

FORMAT = "dpdau-salts"
EXPORT_VERSION = 1
COST, BLOCK, LANES = 1 << 17, 8, 1
MOST_COST = 1 << 20
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32


def encrypt(document: SaltDocument, passphrase: str, *, fingerprint: str, cost: int = COST) -> bytes:
    """Returns the store as the bytes of an export.

    Args:
        document: The store; sensitive.
        passphrase: The only secret that protects the copy; sensitive.
        fingerprint: Stored unencrypted, so that copies can be told apart (public).
        cost: scrypt's n; smaller in tests only.
    """
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": EXPORT_VERSION,
        "fingerprint": fingerprint,
        "scrypt": {"n": cost, "r": BLOCK, "p": LANES, "salt": salt.hex()},
        "nonce": nonce.hex(),
    }
    key = _key(passphrase, salt, cost=cost)
    content = AESGCM(key).encrypt(nonce, document.to_bytes(), _associated(header))
    return json.dumps({**header, "content": base64.b64encode(content).decode()}, indent=1).encode() + b"\n"


def decrypt(content: bytes, passphrase: str) -> SaltDocument:
    """Returns the store that the bytes of an export hold; sensitive.

    Raises:
        InputError: The bytes are no export, they were altered, or the passphrase is wrong.
    """
    try:
        header = json.loads(content)
        if header["format"] != FORMAT or header["version"] != EXPORT_VERSION:
            raise ValueError
        sealed = base64.b64decode(header.pop("content"), validate=True)
        salt, nonce = bytes.fromhex(header["scrypt"]["salt"]), bytes.fromhex(header["nonce"])
        cost = int(header["scrypt"]["n"])
        if not 2 <= cost <= MOST_COST or cost & (cost - 1) or len(nonce) != NONCE_BYTES:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "the file is not an export of a salt store", hint="name a file made by `dpdau salts export`"
        ) from None
    try:
        return SaltDocument.from_bytes(
            AESGCM(_key(passphrase, salt, cost=cost)).decrypt(nonce, sealed, _associated(header))
        )
    except (InvalidTag, ValueError):
        raise InputError(
            "the export cannot be opened: the passphrase is wrong or the file was altered",
            hint="try the passphrase again, or another copy",
        ) from None


def _key(passphrase: str, salt: bytes, *, cost: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=cost, r=BLOCK, p=LANES).derive(passphrase.encode("utf-8"))


def _associated(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
