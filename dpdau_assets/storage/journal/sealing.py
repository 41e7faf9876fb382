"""Encryption that ends with an epoch: bytes sealed under a salt epoch's key are lost with that epoch's secret.

Belongs here: one algorithm, AES-256-GCM under a key of its own purpose. Where epoch keys come from belongs to
`secrets`. The key is used for one purpose only, and the nonce is random: 2^32 sealings stay far from a collision.
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
    """`content` encrypted and authenticated together with `about`.

    Args:
        epoch_key: The key of an epoch; sensitive.
        content: What to seal; sensitive.
        about: What it belongs to; not hidden, but opening it elsewhere fails (public).
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(epoch_key).encrypt(nonce, content, about)


def open_sealed(epoch_key: bytes, sealed: bytes, *, about: bytes) -> bytes:
    """The inverse of `seal`; sensitive.

    Raises:
        SaltStoreDamagedError: The bytes were altered, or belong to another key or place.
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
