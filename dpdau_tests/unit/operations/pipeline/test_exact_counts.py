"""Exact counts: windows are cut into blocks that lose none, and each block reads its epoch's files alone."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.core.hashing import EpochCalendar
from dpdau_assets.core.windows import Window
from dpdau_assets.errors import DataError
from dpdau_assets.operations.pipeline.exact_counts import MAX_DAYS, blocks_of, count_windows
from dpdau_assets.storage.lake.key_files import count_keys, write_keys

FIRST = date(2025, 12, 1)


def windows(lengths: tuple[int, ...], days: int) -> list[Window]:
    ends = [FIRST + timedelta(days=offset) for offset in range(days)]
    return [Window(end - timedelta(days=length - 1), end) for length in lengths for end in ends]


class TestBlocks:
    @pytest.mark.parametrize("rotation_days", [1, 7, 30, 90, 36_500])
    def test_every_window_is_in_one_block_of_its_epoch(self, rotation_days: int) -> None:
        """Blocks hold each window once, one epoch and at most MAX_DAYS days each."""
        calendar = EpochCalendar.every(rotation_days)
        wanted = windows((1, 7, 30, 63), 400)
        blocks = blocks_of(wanted, calendar)
        assert sorted((window.first, window.last) for block in blocks for window in block.windows) == sorted(
            (window.first, window.last) for window in wanted
        )
        for block in blocks:
            assert len(block.days) <= MAX_DAYS
            assert {calendar.window_epoch(window.first) for window in block.windows} == {block.epoch}

    def test_few_blocks_for_a_year(self) -> None:
        """A year of the default windows is read in few pieces: about one per epoch of 90 days."""
        assert len(blocks_of(windows((1, 7, 30), 365), EpochCalendar.every(90))) <= 7


class TestCountWindows:
    def test_counts_by_epoch_and_day(self) -> None:
        """Each window counts the distinct keys of its days under its own epoch; days without files are empty."""
        calendar = EpochCalendar.every(7)
        rng = np.random.default_rng(5)
        held = {
            (FIRST + timedelta(days=offset), epoch): np.unique(rng.integers(0, 40, 9).astype(np.uint64))
            for offset in range(60)
            if offset % 6
            for epoch in calendar.keyed_epochs(FIRST + timedelta(days=offset), 30)
        }
        wanted = windows((1, 7, 30), 60)
        counts = count_windows(
            wanted,
            calendar=calendar,
            files=lambda day, epoch: [Path("x")] if (day, epoch) in held else [],
            read=lambda day, epoch, _: held[day, epoch],
        )
        for window in wanted:
            epoch = calendar.window_epoch(window.first)
            union = set().union(*(held.get((day, epoch), np.empty(0)).tolist() for day in window))
            assert counts[window] == len(union)

    def test_several_files_of_a_day_are_united(self) -> None:
        """A key in two files of one day is one user."""
        parts = {Path("a"): np.array([1, 2], np.uint64), Path("b"): np.array([2, 3], np.uint64)}
        counts = count_windows(
            [Window(FIRST, FIRST)],
            calendar=EpochCalendar.every(90),
            files=lambda day, epoch: list(parts),
            read=lambda day, epoch, path: parts[path],
        )
        assert counts == {Window(FIRST, FIRST): 3}


class TestCountKeys:
    def test_is_the_number_of_keys(self, tmp_path: Path) -> None:
        """The footer's number of rows is the number of keys, over several row groups as well."""
        for size in (1, 300_000):
            write_keys(tmp_path / "e1.parquet", np.arange(size, dtype=np.uint64))
            assert count_keys(tmp_path / "e1.parquet") == size

    def test_a_broken_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A file that is no key file is reported by path."""
        (tmp_path / "e1.parquet").write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"e1\.parquet"):
            count_keys(tmp_path / "e1.parquet")
