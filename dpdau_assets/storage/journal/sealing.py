"""Encrypts bytes under the key of a salt epoch: they cannot be read again once that epoch's secret is destroyed.

Belongs here: one algorithm, AES-256-GCM under a key derived for this purpose alone. The source of epoch keys is
`salt_store`. Nonces are random; 2^32 sealings under one key make a collision unlikely.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dpdau_assets.errors import SaltStoreDamagedError

NONCE_BYTES = 12
TOMBSTONES_PURPOSE = b"dpdau/journal/tombstones"


def seal(epoch_key: bytes, content: bytes, *, about: bytes) -> bytes:
    """Returns `content`, encrypted and authenticated together with `about`.

    Args:
        epoch_key: The key of an epoch; sensitive.
        content: What to seal; sensitive.
        about: The context of the content (public): opening it in another context fails.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(epoch_key).encrypt(nonce, content, about)


def open_sealed(epoch_key: bytes, sealed: bytes, *, about: bytes) -> bytes:
    """Returns the content that `seal` encrypted; sensitive.

    Raises:
        SaltStoreDamagedError: The bytes were altered, or belong to another key or context.
    """
    try:
        return _cipher(epoch_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], about)
    except (InvalidTag, ValueError):
        raise SaltStoreDamagedError(
            "sealed erasures of the journal cannot be opened with these salts",
            hint="put the right salts.json back from your copy of DATA_DIR/secrets",
        ) from None


def _cipher(epoch_key: bytes) -> AESGCM:
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=TOMBSTONES_PURPOSE).derive(epoch_key)
    return AESGCM(key)
