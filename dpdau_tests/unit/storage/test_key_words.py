"""The words of days are exactly what the files hold."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.errors import DataError, InternalError
from dpdau_assets.storage import key_words as module
from dpdau_assets.storage.files import write_keys
from dpdau_assets.storage.key_words import key_words, merge_days

FIRST = date(2026, 1, 1)


def by_hand(offsets: list[int], parts: list[np.ndarray], words: int) -> list[list[int]]:
    """The same words from a dictionary of sets."""
    found: dict[int, list[int]] = {}
    for offset, part in zip(offsets, parts, strict=True):
        for key in part.tolist():
            found.setdefault(key, [0] * words)[offset // 64] |= 1 << (offset % 64)
    return sorted(found.values())


class TestMergeDays:
    @settings(max_examples=60, deadline=None)
    @given(
        words=st.integers(1, 4),
        data=st.data(),
        seed=st.integers(0, 2**32 - 1),
        threads=st.integers(1, 3),
        spread=st.sampled_from([8, 2**20, 2**64]),
        small_keys=st.sampled_from([0, module.SMALL_KEYS]),
    )
    def test_it_equals_a_dictionary_of_sets(
        self, words: int, data: st.DataObject, seed: int, threads: int, spread: int, small_keys: int
    ) -> None:
        """For any files, days shared between files and keys crowded together included, every word is right."""
        offsets = data.draw(st.lists(st.integers(0, 64 * words - 1), max_size=20))
        rng = np.random.default_rng(seed)
        users = rng.integers(0, spread, 40, dtype=np.uint64)
        users[:2] = (0, spread - 1)
        parts = [np.unique(users[rng.random(40) < 0.4]) for _ in offsets]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "SMALL_KEYS", small_keys)
            found = merge_days(offsets, parts, words=words, threads=threads)
        assert found.shape[1] == words and found.dtype == np.uint64
        assert sorted(found.tolist()) == by_hand(offsets, parts, words)

    def test_ranges_narrower_than_a_word_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With more ranges than days in a word, as for many keys, days and keys stay apart."""
        monkeypatch.setattr(module, "SMALL_KEYS", 0)
        monkeypatch.setattr(module, "RANGE_KEYS", 4)
        rng = np.random.default_rng(5)
        users = rng.integers(0, 2**64, 3000, dtype=np.uint64)
        offsets = [0, 63, 64, 127]
        parts = [np.unique(users[rng.random(3000) < 0.5]) for _ in offsets]
        found = merge_days(offsets, parts, words=2, threads=2)
        assert sorted(found.tolist()) == by_hand(offsets, parts, 2)


class TestKeyWords:
    def test_many_tiny_files(self, tmp_path: Path) -> None:
        """Many small files over few days give the same words as their union."""
        rng = np.random.default_rng(2)
        users = rng.integers(0, 2**64, 300, dtype=np.uint64)
        files, parts, offsets = [], [], []
        for number in range(600):
            part = np.unique(users[rng.integers(0, 300, 3)])
            write_keys(tmp_path / f"{number}.parquet", part)
            files.append((tmp_path / f"{number}.parquet", FIRST + timedelta(number % 60)))
            parts.append(part)
            offsets.append(number % 60)
        found = key_words(files, first_day=FIRST, words=1, threads=2)
        assert sorted(found.tolist()) == by_hand(offsets, parts, 1)

    def test_no_files_are_no_keys(self) -> None:
        """Without files the result has no rows and the right number of words."""
        assert key_words([], first_day=FIRST, words=3).shape == (0, 3)

    @pytest.mark.parametrize("offset", [-1, 64])
    def test_a_day_outside_the_words_is_our_mistake(self, tmp_path: Path, offset: int) -> None:
        """A day that has no bit is refused, never dropped."""
        write_keys(tmp_path / "k", np.arange(3, dtype=np.uint64))
        with pytest.raises(InternalError):
            key_words([(tmp_path / "k", FIRST + timedelta(offset))], first_day=FIRST, words=1)

    def test_a_missing_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A missing file is never taken for an empty one."""
        with pytest.raises(DataError):
            key_words([(tmp_path / "gone", FIRST)], first_day=FIRST, words=1)
