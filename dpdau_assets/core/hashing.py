"""Pseudonyms: the salt epoch that a day belongs to, and the derivation of 64 bits from a user id and an epoch's key.

This is the reference: every engine must be bit-equal to `user_key`. Where secrets are kept does not belong here
(storage/keys/salt_store.py). Secrets, keys and pseudonyms are sensitive and travel only as arguments and results.

    secret_0 --ratchet--> secret_1 --ratchet--> ...        one secret per epoch; a destroyed one cannot be derived again
       |                     |
    epoch key 0           epoch key 1                      64 ASCII hex characters
       |                     |
    HMAC-SHA256           HMAC-SHA256                      user_key = first 64 bits

A day is keyed under every epoch in which a window holding that day may start, so a window [s, d] is counted under
the one epoch of s, and no window ever compares pseudonyms of two epochs.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from dpdau_assets.core.quantities import EARLIEST_DAY, DayRange
from dpdau_assets.errors import ConfigurationError, InternalError

SECRET_BYTES = 32
EPOCH_KEY_BYTES = 64
"""One SHA-256 block, so that HMAC pads the key with nothing and SQL engines can compute it from two plain hashes."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of epochs of equal length (public).

    Attributes:
        epoch: Number of the first epoch of the stretch.
        first_day: First day of that epoch.
        rotation_days: Days per epoch, 1 or more.
    """

    epoch: int
    first_day: date
    rotation_days: int

    def epoch_of(self, day: date) -> int:
        """The epoch that holds `day` if this stretch went on for ever."""
        return self.epoch + (day - self.first_day).days // self.rotation_days


@dataclass(frozen=True, slots=True)
class EpochCalendar:
    """Which epoch each day belongs to (public).

    Attributes:
        segments: Stretches in order; the first starts with epoch 0 on 1970-01-01, each later one ends the
            stretch before it early and goes on with the next number.

    Raises:
        ConfigurationError: The segments are not such a sequence.
    """

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        first = self.segments[0] if self.segments else None
        if first is None or (first.epoch, first.first_day) != (0, EARLIEST_DAY):
            raise ConfigurationError(f"the epoch calendar must start with epoch 0 on {EARLIEST_DAY}")
        if any(segment.rotation_days < 1 for segment in self.segments):
            raise ConfigurationError("an epoch must last at least one day")
        for earlier, later in zip(self.segments, self.segments[1:], strict=False):
            follows = later.first_day > earlier.first_day
            if not follows or later.epoch != earlier.epoch_of(later.first_day - timedelta(days=1)) + 1:
                raise ConfigurationError("a segment of the epoch calendar does not continue the one before it")

    @classmethod
    def every(cls, rotation_days: int) -> Self:
        """The calendar without manual rotations: epochs of `rotation_days` days (1 or more) since 1970-01-01."""
        return cls((Segment(0, EARLIEST_DAY, rotation_days),))

    def epoch_of(self, day: date) -> int:
        """The epoch that holds `day`.

        Raises:
            InternalError: `day` lies before 1970-01-01, where no epoch exists.
        """
        if day < EARLIEST_DAY:
            raise InternalError(f"no salt epoch exists before {EARLIEST_DAY}")
        position = bisect_right(self.segments, day, key=lambda segment: segment.first_day) - 1
        return self.segments[position].epoch_of(day)

    def window_epoch(self, first_day: date) -> int:
        """The one epoch under which a window starting on `first_day` is counted.

        A window that starts before 1970-01-01 is counted under epoch 0: no activity exists before that day.
        """
        return self.epoch_of(max(first_day, EARLIEST_DAY))

    def first_day(self, epoch: int) -> date:
        """First day of `epoch` (0 or more)."""
        segment = self._segment_of(epoch)
        return segment.first_day + timedelta(days=(epoch - segment.epoch) * segment.rotation_days)

    def last_day(self, epoch: int) -> date:
        """Last day of `epoch` (0 or more)."""
        return self.first_day(epoch + 1) - timedelta(days=1)

    def keyed_epochs(self, day: date, window_days: int) -> range:
        """The epochs under which the activity of `day` is keyed.

        Guarantee: for every window of at most `window_days` days that holds `day`, the epoch it is counted under
        is among them. At most 1 + ceil((window_days - 1) / rotation) epochs while no manual rotation is near.

        Args:
            day: 1970-01-01 or later (public).
            window_days: Longest window in use, MAU_WINDOW_DAYS (public).

        Returns:
            Consecutive epoch numbers, at least one.
        """
        earliest_start = day - timedelta(days=window_days - 1)
        return range(self.window_epoch(earliest_start), self.epoch_of(day) + 1)

    def keyed_days(self, epoch: int, window_days: int) -> DayRange:
        """The days whose activity is keyed under `epoch`: its own and the `window_days` - 1 that follow.

        Guarantee: `day in keyed_days(epoch, n)` exactly when `epoch in keyed_epochs(day, n)`.
        """
        return DayRange(self.first_day(epoch), self.last_day(epoch) + timedelta(days=window_days - 1))

    def _segment_of(self, epoch: int) -> Segment:
        position = bisect_right(self.segments, epoch, key=lambda segment: segment.epoch) - 1
        if position < 0:
            raise InternalError("salt epochs are numbered from 0")
        return self.segments[position]


def ratchet(secret: bytes, *, day: date, number: int) -> bytes:
    """Returns the secret of the next epoch. The derivation is one-way: the result reveals nothing about `secret`.

    Args:
        secret: Secret of epoch `number` - 1, 32 bytes (sensitive).
        day: First day of epoch `number` (public).
        number: Epoch whose secret is made, 1 or more (public).

    Returns:
        32 bytes (sensitive).

    Reference: RFC 5869, with no salt and the epoch as context.
    """
    return _derive(secret, b"dpdau/ratchet/" + day.isoformat().encode() + b"/" + str(number).encode())


def epoch_key(secret: bytes) -> bytes:
    """The key that pseudonymises under the epoch of `secret` (32 bytes, sensitive).

    Returns:
        64 ASCII hex characters (sensitive): exactly one SHA-256 block.

    Reference: RFC 5869.
    """
    return _derive(secret, b"dpdau/user-key").hex().encode("ascii")


def user_key(key: bytes, user_id: bytes) -> int:
    """The pseudonym of one user under one epoch: the first 64 bits of HMAC-SHA256, big-endian.

    Two of n users collide with probability about n^2 / 2^65; a collision counts two users as one.

    Args:
        key: An epoch key (sensitive).
        user_id: The id's bytes as they came, UTF-8 (sensitive).

    Returns:
        0 .. 2^64 - 1 (sensitive).

    Reference: RFC 2104, RFC 4231.
    """
    return int.from_bytes(hmac.digest(key, user_id, sha256)[:8], "big")


def user_keys(key: bytes, ids: Sequence[bytes]) -> NDArray[np.uint64]:
    """The pseudonyms of `ids` in their order: the reference loop that engines are tested against.

    Args:
        key: An epoch key (sensitive).
        ids: n ids (sensitive).

    Returns:
        uint64[n] (sensitive).
    """
    return np.fromiter((user_key(key, user_id) for user_id in ids), dtype=np.uint64, count=len(ids))


def _derive(secret: bytes, context: bytes) -> bytes:
    """HKDF-SHA256 without salt, 32 bytes."""
    if len(secret) != SECRET_BYTES:
        raise InternalError(f"an epoch secret has {SECRET_BYTES} bytes")
    return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=context).derive(secret)
