"""Searches bytes of unknown format for pseudonyms, as numbers and as text.

Belongs here: the scan of buffers and files. Does not belong here: which pseudonyms are looked for and in which files
(`operations.verify`), or files whose format is known (`key_files`).

A pseudonym is found when its 64 bits occur in the bytes, at any offset and in either byte order. It is also found as 16
hexadecimal or 12 to 20 decimal digits, signed or not, within any run of digits, because in a page of a database the
next byte may look like one more digit. Compressed or encrypted content is not opened here. By chance, each pseudonym
matches 2^-64 of all positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

CHUNK_BYTES = 4 << 20
OVERLAP_BYTES = 64
"""More bytes than any spelling of a pseudonym, so that none is split between two chunks."""
SHORT_BITS = 48
"""SQLite stores a signed number that fits into 48 bits in six bytes."""

HEX_DIGITS, FEWEST_DIGITS, MOST_DIGITS = 16, 12, 20
_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{16,}")
_DECIMAL_RUN = re.compile(rb"[0-9]{12,}")
_IS_DIGIT = bytes(chr(byte) in "0123456789" for byte in range(256))
_IS_HEX = bytes(chr(byte) in "0123456789abcdefABCDEF" for byte in range(256))
_NIBBLES = np.full(256, 255, np.uint8)
for _position, _digit in enumerate(b"0123456789abcdef"):
    _NIBBLES[_digit] = _NIBBLES[ord(chr(_digit).upper())] = _position


class KeySearch:
    """A search for pseudonyms; prints as nothing.

    Args:
        keys: uint64[n], any order, repeats allowed; sensitive.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = np.unique(keys.astype(np.uint64, copy=False))
        self._shift = np.uint64(64 - min(27, max(16, int(self._keys.size).bit_length() + 4)))
        self._is_possible = np.zeros(1 << (64 - int(self._shift)), np.bool_)
        self._is_possible[self._keys >> self._shift] = True
        signed = self._keys.view(np.int64)
        limit = 1 << (SHORT_BITS - 1)
        self._short = np.unique(self._keys[(signed >= -limit) & (signed < limit)] << np.uint64(64 - SHORT_BITS))

    def __repr__(self) -> str:
        return "KeySearch(...)"

    def __bool__(self) -> bool:
        return bool(self._keys.size)

    def has_any(self, values: Keys) -> bool:
        """Returns whether one of `values` (any order) is looked for."""
        return self.among(values).size > 0

    def among(self, values: Keys) -> Keys:
        """Returns those of `values` that are looked for; sensitive."""
        if not self._keys.size or not values.size:
            return np.empty(0, np.uint64)
        candidates = values[np.flatnonzero(self._is_possible[values >> self._shift])]
        return candidates[_is_in(self._keys, candidates)]

    def is_in_bytes(self, content: bytes | bytearray | memoryview, *, is_sqlite: bool = False) -> bool:
        """Returns whether a pseudonym occurs in `content`, in any of the spellings above.

        Args:
            content: Any bytes; sensitive.
            is_sqlite: Whether SQLite's six-byte numbers count as well.
        """
        if not self._keys.size:
            return False
        whole = bytes(content) if not isinstance(content, bytes) else content
        return self._is_binary_in(whole, is_sqlite=is_sqlite) or self._is_text_in(whole)

    def is_in_stream(self, chunks: Iterable[bytes], *, is_sqlite: bool = False) -> bool:
        """Returns the same as `is_in_bytes`, for content that arrives in pieces."""
        tail = b""
        for chunk in chunks:
            if self.is_in_bytes(tail + chunk, is_sqlite=is_sqlite):
                return True
            tail = (tail + chunk)[-OVERLAP_BYTES:]
        return False

    def _is_binary_in(self, content: bytes, *, is_sqlite: bool) -> bool:
        padded = content + b"\0" * 2 if is_sqlite and self._short.size else content
        for offset in range(min(8, max(0, len(padded) - 7))):
            words = np.frombuffer(padded, "<u8", (len(padded) - offset) // 8, offset)
            swapped = words.byteswap()
            if self.has_any(words) or self.has_any(swapped):
                return True
            if is_sqlite and self._short.size:
                six = swapped & ~np.uint64((1 << (64 - SHORT_BITS)) - 1)
                if bool(_is_in(self._short, six).any()):
                    return True
        return False

    def _is_text_in(self, content: bytes) -> bool:
        if _has_run(content, _IS_DIGIT, FEWEST_DIGITS):
            for values in _decimal_values(b"-".join(_DECIMAL_RUN.findall(content))):
                if self.has_any(values) or self.has_any(np.negative(values)):
                    return True
        if not _has_run(content, _IS_HEX, HEX_DIGITS):
            return False
        return self.has_any(_hexadecimal_values(b"-".join(_HEX_RUN.findall(content))))


def _has_run(content: bytes, is_member: bytes, length: int) -> bool:
    """Returns whether `length` consecutive bytes of `content` are members, much faster than a regular expression."""
    return content.translate(is_member).find(b"\1" * length) >= 0


def _decimal_values(text: bytes) -> Iterator[Keys]:
    """Yields the values of all runs of consecutive digits in `text`, for each length that a decimal pseudonym may have.

    Numbers beyond 64 bits wrap around, which only adds values that nobody looks for.
    """
    digits = _NIBBLES[np.frombuffer(text, np.uint8)]
    is_other = np.concatenate([[0], np.cumsum(digits > 9)])
    values = digits.astype(np.uint64)
    for length in range(2, MOST_DIGITS + 1):
        if length > len(text):
            return
        values = values[:-1] * np.uint64(10) + digits[length - 1 :]
        if length >= FEWEST_DIGITS:
            yield values[is_other[length:] == is_other[:-length]]


def _hexadecimal_values(text: bytes) -> Keys:
    """Returns the value of every 16 consecutive hexadecimal digits of `text`."""
    digits = _NIBBLES[np.frombuffer(text, np.uint8)]
    is_other = np.concatenate([[0], np.cumsum(digits == 255)])
    values = digits.astype(np.uint64)
    for width in (1, 2, 4, 8):
        values = (values[:-width] << np.uint64(4 * width)) | values[width:]
    whole: Keys = values[is_other[HEX_DIGITS:] == is_other[:-HEX_DIGITS]]
    return whole


def _is_in(keys: Keys, values: Keys) -> npt.NDArray[np.bool_]:
    """Returns for each of `values` whether it is one of `keys`, which are sorted and not empty."""
    positions = np.minimum(np.searchsorted(keys, values), keys.size - 1)
    found: npt.NDArray[np.bool_] = keys[positions] == values
    return found
