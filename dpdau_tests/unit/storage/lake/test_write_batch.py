"""Files of a batch take their places together."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dpdau_assets.errors import InternalError, StorageError
from dpdau_assets.storage.disk import durable
from dpdau_assets.storage.lake import key_files
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.write_batch import WriteBatch

KEYS = np.arange(10, dtype=np.uint64)


def visible(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".lock" not in path.name
    )


class TestWriteBatch:
    def test_nothing_is_visible_before_publish(self, lake: Lake) -> None:
        """Places stay empty until `publish`, then hold every file."""
        first, second = lake.root / "lake/a", lake.root / "lake/deep/b"
        with lake.write_batch() as batch:
            digest = batch.write_keys(first, KEYS)
            batch.write_table(second, pa.table({"x": [1]}))
            assert not first.exists() and not second.exists()
            batch.publish()
            assert durable.file_digest(first) == digest
            assert key_files.read_table(second).to_pydict() == {"x": [1]}
        assert visible(lake.root) == ["lake/a", "lake/deep/b"]

    def test_leaving_without_publish_leaves_nothing(self, lake: Lake) -> None:
        """An error in the block removes everything that was written."""
        with pytest.raises(ZeroDivisionError), lake.write_batch() as batch:
            batch.write_keys(lake.root / "lake/a", KEYS)
            raise ZeroDivisionError
        assert visible(lake.root) == []

    def test_durable_before_visible(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every file is synchronised before the first rename."""
        order: list[str] = []
        real_replace, real_fsync = os.replace, os.fsync

        def note_fsync(descriptor: int) -> None:
            order.append("sync file" if ".tmp-" in str(Path(f"/proc/self/fd/{descriptor}").readlink()) else "sync name")
            real_fsync(descriptor)

        def note_replace(source: Path, target: Path) -> None:
            order.append("rename")
            real_replace(source, target)

        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr(os, "replace", note_replace)
        with lake.write_batch() as batch:
            for name in "ab":
                batch.write_keys(lake.root / "lake" / name, KEYS)
            batch.publish()
        without_scratch = [step for step in order if step != "sync name"]
        assert without_scratch == ["sync file", "sync file", "rename", "rename"]
        assert order[-1] == "sync name"

    def test_a_full_disk_midway_keeps_the_old_files(self, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
        """When writing fails, earlier content is untouched and nothing waits any more."""
        target = lake.root / "lake/a"
        key_files.write_keys(target, KEYS)
        before = target.read_bytes()

        def fail(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        with pytest.raises(StorageError, match="disk is full"), lake.write_batch() as batch:
            batch.write_keys(target, KEYS[:3])
            monkeypatch.setattr(os, "write", fail)
            batch.write_keys(lake.root / "lake/b", KEYS)
        assert target.read_bytes() == before
        assert visible(lake.root) == ["lake/a"]

    def test_a_link_waits_like_a_file(self, lake: Lake) -> None:
        """A linked file takes its place with the others, also over an equal link."""
        source, target = lake.root / "lake/a", lake.root / "lake/b"
        key_files.write_keys(source, KEYS)
        for _ in range(2):
            with lake.write_batch() as batch:
                batch.link(source, target)
                batch.publish()
        assert source.samefile(target)
        assert visible(lake.root) == ["lake/a", "lake/b"]

    def test_one_place_cannot_be_written_twice(self, tmp_path: Path) -> None:
        """A second file for one place is our own mistake and says so."""
        with pytest.raises(InternalError, match="written twice"), WriteBatch(tmp_path) as batch:
            batch.write_keys(tmp_path / "a", KEYS)
            batch.write_keys(tmp_path / "a", KEYS)
        assert visible(tmp_path) == []
