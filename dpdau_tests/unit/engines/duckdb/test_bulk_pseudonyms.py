"""Pseudonyms in bulk: bit-equal to the reference, in compiled code and in the loop."""

from __future__ import annotations

import numpy as np
import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.engines.duckdb.bulk_pseudonyms import FEW_IDS, bulk_user_keys

KEYS = [(3, b"0123456789abcdef" * 4), (4, b"fedcba9876543210" * 4), (9, b"8" * 64)]
AWKWARD = ["a", "ü", "'; --", "名前", "x" * 1024, "\u200d", "🙂", "\\x36", "0x00", " ", "\t\r"]


class TestBulkUserKeys:
    @pytest.mark.parametrize("count", [0, 1, FEW_IDS, FEW_IDS + 1, 5000])
    def test_are_the_reference_for_any_ids(self, count: int) -> None:
        """Few and many ids of many scripts have, under every epoch, the pseudonyms of the reference."""
        ids = [f"{AWKWARD[number % len(AWKWARD)]}{number}"[-1024:].encode() for number in range(count)]
        found = bulk_user_keys(ids, KEYS, threads=1)
        assert sorted(found) == [3, 4, 9]
        for epoch, key in KEYS:
            assert np.array_equal(np.sort(found[epoch]), np.sort(user_keys(key, ids)))
