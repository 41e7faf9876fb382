"""Epoch calendars and the keyed hash, against the vectors of RFC 5869 and RFC 4231."""

from __future__ import annotations

import hmac
from datetime import date, timedelta
from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dpdau_assets.core.hashing import (
    EPOCH_KEY_BYTES,
    EpochCalendar,
    Segment,
    epoch_key,
    ratchet,
    user_key,
    user_keys,
)
from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange
from dpdau_assets.errors import ConfigurationError, InternalError

RFC_4231 = [  # key, data, first 16 hex digits of HMAC-SHA-256
    ("0b" * 20, "4869205468657265", "b0344c61d8db3853"),
    ("4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f", "5bdcc146bf60754e"),
    ("aa" * 20, "dd" * 50, "773ea91e36800e46"),
    ("0102030405060708090a0b0c0d0e0f10111213141516171819", "cd" * 50, "82558a389a443c0e"),
    ("aa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First".hex(), "60e431591ee0b67f"),
]

RFC_5869 = [  # key material, info, length, output; the cases of the RFC that use SHA-256
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


def hkdf_by_hand(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, the salt of 32 zero bytes that an absent salt means, and 32 bytes of output."""
    pseudorandom_key = hmac.digest(bytes(32), secret, sha256)
    return hmac.digest(pseudorandom_key, info + b"\x01", sha256)


class TestKeyDerivation:
    @pytest.mark.parametrize(("material", "salt", "info", "output"), RFC_5869)
    def test_the_library_is_hkdf(self, material: str, salt: str, info: str, output: str) -> None:
        """The HKDF in use gives the outputs printed in RFC 5869."""
        kdf = HKDF(SHA256(), len(output) // 2, bytes.fromhex(salt) or None, bytes.fromhex(info))
        assert kdf.derive(bytes.fromhex(material)).hex() == output

    def test_ratchet_and_key_are_hkdf_with_their_contexts(self) -> None:
        """Both derivations equal RFC 5869 computed by hand, each with its own context."""
        secret = bytes(range(32))
        following = ratchet(secret, day=date(1970, 4, 1), number=1)
        assert following == hkdf_by_hand(secret, b"dpdau/ratchet/1970-04-01/1")
        assert epoch_key(secret) == hkdf_by_hand(secret, b"dpdau/user-key").hex().encode()

    def test_an_epoch_key_is_one_block_of_hex(self) -> None:
        """An epoch key is 64 lower-case hexadecimal ASCII characters."""
        key = epoch_key(b"s" * 32)
        assert len(key) == EPOCH_KEY_BYTES == 64
        assert set(key) <= set(b"0123456789abcdef")

    def test_every_epoch_has_its_own_secret_and_key(self) -> None:
        """Ratcheting through many epochs never repeats a secret or a key, and the day is part of it."""
        calendar, secret = EpochCalendar.every(90), bytes(32)
        secrets, keys = {secret}, {epoch_key(secret)}
        for number in range(1, 50):
            day = calendar.first_day(number)
            assert ratchet(secret, day=day, number=number) != ratchet(secret, day=day + timedelta(1), number=number)
            secret = ratchet(secret, day=day, number=number)
            secrets.add(secret)
            keys.add(epoch_key(secret))
        assert len(secrets) == len(keys) == 50

    @pytest.mark.parametrize("length", [0, 31, 33])
    def test_a_secret_of_another_length_is_refused(self, length: int) -> None:
        """A truncated secret never keys anything."""
        with pytest.raises(InternalError):
            epoch_key(bytes(length))


class TestUserKey:
    @pytest.mark.parametrize(("key", "data", "digest"), RFC_4231)
    def test_is_the_first_64_bits_of_hmac(self, key: str, data: str, digest: str) -> None:
        """A pseudonym is the first 8 bytes, big-endian, of the HMAC-SHA-256 printed in RFC 4231."""
        assert user_key(bytes.fromhex(key), bytes.fromhex(data)) == int(digest, 16)

    def test_the_loop_agrees_with_the_single_key(self) -> None:
        """The reference loop keeps the order, covers the top bit and every script, and counts bytes, not characters."""
        ids = [f"user-{n}".encode() for n in range(200)] + ["日本".encode(), "\u00e9".encode(), "e\u0301".encode()]
        key = epoch_key(bytes(32))
        keys = user_keys(key, ids)
        assert keys.dtype == np.uint64
        assert keys.tolist() == [user_key(key, user_id) for user_id in ids]
        assert len(set(keys.tolist())) == len(ids)
        assert keys.max() >= 2**63 > keys.min()

    def test_no_ids_give_no_keys(self) -> None:
        """An empty sequence gives an empty array of the same type."""
        assert user_keys(b"k", []).dtype == np.uint64
        assert user_keys(b"k", []).size == 0


class TestEpochCalendar:
    @pytest.mark.parametrize("rotation", [1, 7, 90, 36_500])
    def test_epochs_tile_the_calendar(self, rotation: int) -> None:
        """Every day lies in exactly one epoch, whose first and last day enclose it, anchored on 1970-01-01."""
        calendar = EpochCalendar.every(rotation)
        assert calendar.first_day(0) == EARLIEST_DAY
        for offset in (0, 1, 89, 90, 91, 20_000, 20_089):
            day = EARLIEST_DAY + timedelta(days=offset)
            epoch = calendar.epoch_of(day)
            assert epoch == offset // rotation
            assert calendar.first_day(epoch) <= day <= calendar.last_day(epoch)
            assert calendar.first_day(epoch + 1) == calendar.last_day(epoch) + timedelta(days=1)

    def test_a_manual_rotation_starts_an_epoch_at_its_date(self) -> None:
        """The epoch under way is cut short and numbering goes on."""
        calendar = EpochCalendar((Segment(0, EARLIEST_DAY, 90), Segment(2, date(1970, 5, 1), 10)))
        assert calendar.last_day(1) == date(1970, 4, 30)
        assert [calendar.epoch_of(date(1970, 4, n)) for n in (1, 30)] == [1, 1]
        assert [calendar.epoch_of(date(1970, 5, n)) for n in (1, 10, 11)] == [2, 2, 3]
        assert calendar.keyed_epochs(date(1970, 5, 12), 30) == range(1, 4)

    def test_days_before_1970_have_no_epoch(self) -> None:
        """Only a window may reach before 1970; it is counted under epoch 0."""
        calendar = EpochCalendar.every(90)
        with pytest.raises(InternalError):
            calendar.epoch_of(date(1969, 12, 31))
        assert calendar.window_epoch(date(1969, 12, 3)) == 0
        with pytest.raises(InternalError):
            calendar.first_day(-1)

    def test_keyed_days_are_the_epochs_and_the_window_behind(self) -> None:
        """An epoch's key serves its own days and the days of the windows that start in it."""
        assert EpochCalendar.every(90).keyed_days(1, 30) == DayRange(date(1970, 4, 1), date(1970, 7, 28))

    @pytest.mark.parametrize(
        "segments",
        [
            (),
            (Segment(1, EARLIEST_DAY, 90),),
            (Segment(0, date(1971, 1, 1), 90),),
            (Segment(0, EARLIEST_DAY, 0),),
            (Segment(0, EARLIEST_DAY, 90), Segment(3, date(1970, 5, 1), 90)),
            (Segment(0, EARLIEST_DAY, 90), Segment(1, EARLIEST_DAY, 90)),
        ],
    )
    def test_a_broken_sequence_of_segments_is_refused(self, segments: tuple[Segment, ...]) -> None:
        """A calendar that skips, repeats or misplaces an epoch would read pseudonyms under the wrong key."""
        with pytest.raises(ConfigurationError):
            EpochCalendar(segments)
