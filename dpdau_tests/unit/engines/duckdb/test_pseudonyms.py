"""Pseudonyms of whole columns: bit-equal to the reference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dpdau_assets.core.hashing import user_key, user_keys
from dpdau_assets.engines.duckdb.pseudonyms import PIECE_IDS, column_user_keys


class TestColumnUserKeys:
    KEYS = (b"0123456789abcdef" * 4, b"a" * 64, b"6" * 64, b"\\x36" * 16, b"'; -- %s $1 " * 5 + b"____")
    IDS = ("a", "6", "ü", "𝒳 Ωמ\u200d\u00a0", "a\x00b", "\\x41", "'", "x" * 1024, "$outer", "é" * 512, "")

    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:4].decode())
    def test_they_are_bit_equal_to_core(self, key: bytes) -> None:
        """Keys with and without the digit 6 and ids of any script give core.hashing.user_key, in order."""
        found = column_user_keys(pa.chunked_array([list(self.IDS[:5]), list(self.IDS[5:])]), key)
        assert found.tolist() == [user_key(key, user.encode()) for user in self.IDS]

    @pytest.mark.parametrize("count", [0, 1, PIECE_IDS, PIECE_IDS + 1])
    @pytest.mark.one_is_enough
    def test_pieces_keep_the_order(self, count: int) -> None:
        """A column of any length has one key per id, in its order, on any number of threads."""
        ids = [f"user-{number}" for number in range(count)]
        found = column_user_keys(pa.chunked_array([pa.array(ids, pa.string())]), self.KEYS[0], threads=3)
        assert np.array_equal(found, user_keys(self.KEYS[0], [user.encode() for user in ids]))
