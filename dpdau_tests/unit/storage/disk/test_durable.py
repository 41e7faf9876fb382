"""Files appear complete or not at all, and survive a full disk, a failed sync and a crash."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.errors import StorageError
from dpdau_assets.storage.disk import durable
from dpdau_assets.storage.lake import key_files


def random_keys(count: int, seed: int = 1) -> np.ndarray:
    return np.unique(np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64))


def fail_with(number: int):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestFullDisk:
    @pytest.mark.parametrize("call", ["write", "replace"])
    def test_the_old_file_stays_and_nothing_else_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
    ) -> None:
        """A full disk leaves the old content and no temporary file, whichever call fails."""
        target = tmp_path / "k.parquet"
        key_files.write_keys(target, random_keys(10))
        before = target.read_bytes()
        monkeypatch.setattr(os, call, fail_with(errno.ENOSPC))
        with pytest.raises(StorageError, match=r"disk is full \(\d+ MB free in") as caught:
            key_files.write_keys(target, random_keys(500, seed=2))
        assert caught.value.hint and str(tmp_path) in str(caught.value)
        assert target.read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["k.parquet"]

    def test_a_disk_that_fills_up_midway_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write that stops half way is removed."""
        real, calls = os.write, []

        def write_a_little(descriptor: int, data: memoryview) -> int:
            calls.append(len(data))
            if len(calls) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[:100])

        monkeypatch.setattr(os, "write", write_a_little)
        with pytest.raises(StorageError, match="disk is full"):
            key_files.write_keys(tmp_path / "k.parquet", random_keys(1000))
        assert len(calls) == 3
        assert list(tmp_path.iterdir()) == []

    def test_short_writes_are_continued(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A system that writes in small pieces still gives the whole file."""
        real = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:97]))
        keys = random_keys(100)
        key_files.write_keys(tmp_path / "k", keys)
        assert np.array_equal(key_files.read_keys(tmp_path / "k"), keys)

    def test_a_failed_sync_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that cannot be made durable is an error, never passed over."""
        key_files.write_keys(tmp_path / "k", random_keys(3))
        monkeypatch.setattr(os, "fsync", fail_with(errno.EIO))
        with pytest.raises(StorageError, match="make durable"):
            durable.make_durable([tmp_path / "k"])


class TestDurability:
    def test_few_files_are_synced_one_by_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each of up to 16 files is synchronised, and their folder once."""
        paths = [tmp_path / str(number) for number in range(16)]
        for path in paths:
            path.touch()
        synced: list[str] = []
        monkeypatch.setattr(
            os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        )
        durable.make_durable(paths)
        assert sorted(synced) == sorted([str(path) for path in paths] + [str(tmp_path)])

    def test_many_files_are_synced_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than 16 files do not cost one fsync each."""
        paths = [tmp_path / str(number) for number in range(17)]
        for path in paths:
            path.touch()
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        durable.make_durable(paths)
        assert synced == []

    def test_without_syncfs_each_file_is_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the platform has no syncfs nothing is skipped."""
        paths = [tmp_path / str(number) for number in range(20)]
        for path in paths:
            path.touch()
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
        durable.make_durable(paths)
        assert len(synced) == 21


class TestRemove:
    def test_removing_again_is_harmless(self, tmp_path: Path) -> None:
        """Files go, and a repeat after a crash does not fail."""
        (tmp_path / "a").touch()
        durable.remove([tmp_path / "a", tmp_path / "never"])
        durable.remove([tmp_path / "a"])
        assert list(tmp_path.iterdir()) == []
