"""The words of days are exactly what the files hold."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.storage.lake import day_bitmaps as module
from dpdau_assets.storage.lake.day_bitmaps import merge_day_bitmaps

FIRST = date(2026, 1, 1)


def by_hand(offsets: list[int], parts: list[np.ndarray], n_words: int) -> list[list[int]]:
    """The same words from a dictionary of sets."""
    found: dict[int, list[int]] = {}
    for offset, part in zip(offsets, parts, strict=True):
        for key in part.tolist():
            found.setdefault(key, [0] * n_words)[offset // 64] |= 1 << (offset % 64)
    return sorted(found.values())


class TestMergeDays:
    @settings(max_examples=60, deadline=None)
    @given(
        n_words=st.integers(1, 4),
        data=st.data(),
        seed=st.integers(0, 2**32 - 1),
        threads=st.integers(1, 3),
        spread=st.sampled_from([8, 2**20, 2**64]),
        small_keys=st.sampled_from([0, module.SMALL_KEYS]),
    )
    def test_it_equals_a_dictionary_of_sets(
        self, n_words: int, data: st.DataObject, seed: int, threads: int, spread: int, small_keys: int
    ) -> None:
        """For any files, days shared between files and keys crowded together included, every word is right."""
        offsets = data.draw(st.lists(st.integers(0, 64 * n_words - 1), max_size=20))
        rng = np.random.default_rng(seed)
        users = rng.integers(0, spread, 40, dtype=np.uint64)
        users[:2] = (0, spread - 1)
        parts = [np.unique(users[rng.random(40) < 0.4]) for _ in offsets]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SMALL_KEYS", small_keys)
            found = merge_day_bitmaps(offsets, parts, n_words=n_words, threads=threads)
        assert found.shape[1] == n_words and found.dtype == np.uint64
        assert sorted(found.tolist()) == by_hand(offsets, parts, n_words)

    def test_ranges_narrower_than_a_word_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With more ranges than days in a word, as for many keys, days and keys stay apart."""
        monkeypatch.setattr(module, "SMALL_KEYS", 0)
        monkeypatch.setattr(module, "RANGE_KEYS", 4)
        rng = np.random.default_rng(5)
        users = rng.integers(0, 2**64, 3000, dtype=np.uint64)
        offsets = [0, 63, 64, 127]
        parts = [np.unique(users[rng.random(3000) < 0.5]) for _ in offsets]
        found = merge_day_bitmaps(offsets, parts, n_words=2, threads=2)
        assert sorted(found.tolist()) == by_hand(offsets, parts, 2)

    def test_many_tiny_parts(self) -> None:
        """Many small parts over few days give the same words as their union."""
        rng = np.random.default_rng(2)
        users = rng.integers(0, 2**64, 300, dtype=np.uint64)
        offsets = [number % 60 for number in range(600)]
        parts = [np.unique(users[rng.integers(0, 300, 3)]) for _ in offsets]
        assert sorted(merge_day_bitmaps(offsets, parts, n_words=1, threads=2).tolist()) == by_hand(offsets, parts, 1)

    def test_no_parts_are_no_keys(self) -> None:
        """Without parts the result has no rows and the right number of words."""
        assert merge_day_bitmaps([], [], n_words=3).shape == (0, 3)
