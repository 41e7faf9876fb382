"""KeySearch: a pseudonym is found in bytes of no known format, however it is spelt, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.storage.scan.byte_search import KeySearch

KEY = 0xF1E2_D3C4_B5A6_9788
SIGNED = KEY - (1 << 64)
SHORT = (1 << 64) - 0x1234_5678_9ABC
SPELLINGS = {
    "little-endian": KEY.to_bytes(8, "little"),
    "big-endian": KEY.to_bytes(8, "big"),
    "lower hexadecimal": f"{KEY:016x}".encode(),
    "upper hexadecimal": f"{KEY:016X}".encode(),
    "within a longer hexadecimal run": f"abc{KEY:016x}0123".encode(),
    "unsigned decimal": f"{KEY}".encode(),
    "signed decimal": f"{SIGNED}".encode(),
}


def noise(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


class TestKeySearch:
    @pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
    @pytest.mark.parametrize("before", range(9))
    def test_every_spelling_at_every_offset_is_found(self, spelling: str, before: int) -> None:
        """A pseudonym is found wherever it stands, as bits, hexadecimal digits or a decimal number."""
        search = KeySearch(np.array([KEY, 17], np.uint64))
        content = b"x" * before + SPELLINGS[spelling] + b"-end"
        assert search.is_in_bytes(content)
        assert search.is_in_bytes(memoryview(content))

    def test_other_content_is_not_found(self) -> None:
        """Random bytes, other numbers and other digests hold none of a hundred thousand pseudonyms."""
        keys = np.random.default_rng(3).integers(0, 2**64, 100_000, np.uint64)
        search = KeySearch(keys)
        assert not search.is_in_bytes(noise(200_000))
        assert not search.is_in_bytes(noise(50_000).hex().encode())
        assert not search.is_in_bytes(" ".join(str(number**5) for number in range(3000)).encode())
        assert search.is_in_bytes(noise(1000) + int(keys[77]).to_bytes(8, "big") + noise(1000))

    def test_digits_beside_it_hide_nothing(self) -> None:
        """In a database the byte beside a number may look like a digit: a pseudonym within more digits is found."""
        search = KeySearch(np.array([KEY], np.uint64))
        for content in (f"7{KEY}", f"{KEY}7", f"12{SIGNED}34", f"{KEY:016x}7"):
            assert search.is_in_bytes(content.encode())
        assert not search.is_in_bytes(f"{KEY - 1}{KEY + 1}".encode())
        assert not search.is_in_bytes(b"9" * 40)

    def test_small_numbers_of_sqlite_take_six_bytes(self) -> None:
        """A pseudonym that SQLite stores in six bytes is found there, and six bytes elsewhere prove nothing."""
        search = KeySearch(np.array([KEY, SHORT], np.uint64))
        content = b"\x01\x05" + SHORT.to_bytes(8, "big")[2:]
        assert search.is_in_bytes(content, is_sqlite=True)
        assert not search.is_in_bytes(content)

    def test_nothing_is_looked_for_without_keys(self) -> None:
        """A search for no pseudonym finds none, also in zeros."""
        search = KeySearch(np.empty(0, np.uint64))
        assert not search
        assert not search.is_in_bytes(b"\0" * 64)
        assert search.among(np.array([0], np.uint64)).size == 0

    def test_a_pseudonym_between_two_pieces_is_found(self) -> None:
        """A file read in pieces is searched as if it were read at once."""
        search = KeySearch(np.array([KEY], np.uint64))
        for spelling in (SPELLINGS["little-endian"], SPELLINGS["unsigned decimal"], SPELLINGS["upper hexadecimal"]):
            for before in range(100, 140):
                content = b"." * before + spelling + b"." * 300
                assert search.is_in_stream(content[start : start + 128] for start in range(0, len(content), 128))

    def test_among_returns_exactly_the_common_ones(self) -> None:
        """The keys found among values are the intersection."""
        rng = np.random.default_rng(5)
        keys, others = rng.integers(0, 2**64, 1000, np.uint64), rng.integers(0, 2**64, 5000, np.uint64)
        values = np.concatenate([others, keys[:40]])
        assert set(KeySearch(keys).among(values).tolist()) == set(keys[:40].tolist())
        assert KeySearch(keys).has_any(values)
        assert not KeySearch(keys).has_any(others)

    def test_a_search_prints_as_nothing(self) -> None:
        """No pseudonym shows in the representation of a search."""
        assert repr(KeySearch(np.array([KEY], np.uint64))) == "KeySearch(...)"
