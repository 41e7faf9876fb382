"""An encrypted copy of the salt store opens with its passphrase, unchanged, and with nothing else."""

from __future__ import annotations

import json

import pytest

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.errors import InputError
from dpdau_assets.storage.keys.salt_export import decrypt, encrypt
from dpdau_assets.storage.keys.salt_file import HandRotation, SaltDocument

STORE = SaltDocument(EpochCalendar.every(90), {3: bytes(range(32))}, {3: HandRotation("a mark", "a time")}, bytes(32))
QUICK = 1 << 10


def exported() -> bytes:
    return encrypt(STORE, "a passphrase", fingerprint="0123", cost=QUICK)


class TestExport:
    def test_it_opens_as_what_it_was(self) -> None:
        """The store comes back to the byte, and no two copies look alike."""
        first, second = exported(), exported()
        assert decrypt(first, "a passphrase").to_bytes() == decrypt(second, "a passphrase").to_bytes()
        assert json.loads(first)["content"] != json.loads(second)["content"]

    def test_nothing_of_it_is_readable(self) -> None:
        """Neither the secret nor its hex stands in the file; the fingerprint does."""
        content = exported()
        assert STORE.secrets[3] not in content and STORE.secrets[3].hex().encode() not in content
        assert b"0123" in content

    def test_another_passphrase_is_refused(self) -> None:
        """Wrong by one character, in composition or empty: one line, no hint of how wrong."""
        for wrong in ("a passphrasf", "", "A passphrase"):
            with pytest.raises(InputError, match="the passphrase is wrong or the file was altered"):
                decrypt(exported(), wrong)

    @pytest.mark.parametrize("name", ["fingerprint", "nonce", "content", "scrypt"])
    def test_a_changed_field_is_noticed(self, name: str) -> None:
        """All fields are authenticated."""
        document = json.loads(exported())
        other = json.loads(encrypt(STORE, "a passphrase", fingerprint="4567", cost=QUICK))
        with pytest.raises(InputError):
            decrypt(json.dumps({**document, name: other[name]}).encode(), "a passphrase")

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b'{"format": "dpdau-salts"}', b"\xff\x00", b'{"format": "other", "version": 1}'],
    )
    def test_other_files_are_no_exports(self, content: bytes) -> None:
        """Any bytes are answered with one line."""
        with pytest.raises(InputError, match="not an export"):
            decrypt(content, "a passphrase")

    @pytest.mark.parametrize("cost", [0, 1, 1000, 1 << 30, -2])
    def test_an_absurd_cost_is_refused_before_it_is_paid(self, cost: int) -> None:
        """A file cannot make the machine spend gigabytes."""
        document = json.loads(exported())
        document["scrypt"]["n"] = cost
        with pytest.raises(InputError, match="not an export"):
            decrypt(json.dumps(document).encode(), "a passphrase")
