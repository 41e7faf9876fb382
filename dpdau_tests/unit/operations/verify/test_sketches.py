"""Whether a stored sketch or union holds a pseudonym that must be gone, for every kind of sketch that holds any."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.errors import DataError
from dpdau_assets.operations.session.erased_keys import ErasedKeys
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.sketches import (
    LiveErased,
    holds_erased_rows,
    holds_erased_sketch,
    holds_erased_union,
)
from dpdau_assets.storage.lake.key_files import write_table
from dpdau_assets.storage.ledger.erasures import Tombstones
from dpdau_tests.support.verified_folders import flip
from dpdau_tests.support.workspaces import new_workspace

DAY, NEXT, EPOCH = date(2026, 4, 1), date(2026, 4, 2), 7
KEYS = np.sort(np.random.default_rng(7).integers(0, 1 << 64, 50, np.uint64))
STORED = KmvSketch.from_keys(KEYS, k=64).to_bytes()


def erased(key: int, *, through: date = DAY) -> ErasedKeys:
    """One pseudonym erased through a day."""
    return ErasedKeys({EPOCH: Tombstones.until(np.array([key], np.uint64), through)})


def union_of(path: Path, *, first: date, last: date) -> str:
    """The digest of a file with one union over a window."""
    row = {"first_day": [first], "last_day": [last], "epoch": [EPOCH], "sketch": pa.array([STORED], pa.binary())}
    return write_table(path, pa.table(row))


class TestHoldsErasedSketch:
    def test_whoever_is_erased_on_the_day_must_be_gone(self, tmp_path: Path) -> None:
        """A user of the sketch is found when erased through its day, not when erased before it or not at all."""
        path = tmp_path / "e7.parquet"
        digest = write_table(path, pa.table({"sketch": pa.array([STORED], pa.binary())}))
        kept, absent = int(KEYS[3]), int(KEYS[3]) ^ 1
        assert holds_erased_sketch(path, digest, erased(kept), day=DAY, epoch=EPOCH)
        assert not holds_erased_sketch(path, digest, erased(kept), day=NEXT, epoch=EPOCH)
        assert not holds_erased_sketch(path, digest, erased(kept), day=DAY, epoch=EPOCH + 1)
        assert not holds_erased_sketch(path, digest, erased(absent), day=DAY, epoch=EPOCH)

    def test_a_file_that_is_not_the_recorded_one_answers_nothing(self, tmp_path: Path) -> None:
        """An altered file raises DataError, whatever it holds."""
        path = tmp_path / "e7.parquet"
        digest = write_table(path, pa.table({"sketch": pa.array([STORED], pa.binary())}))
        flip(path)
        with pytest.raises(DataError):
            holds_erased_sketch(path, digest, erased(int(KEYS[3])), day=DAY, epoch=EPOCH)


class TestHoldsErasedUnion:
    def test_a_user_who_is_live_on_no_day_of_the_window_must_be_gone(self, tmp_path: Path) -> None:
        """A user erased inside the window and live on none of its later days is found; one erased before it is not."""
        workspace: Workspace = new_workspace(tmp_path / "data")
        path = tmp_path / "windows.parquet"
        digest = union_of(path, first=DAY, last=NEXT)

        def is_found(through: date) -> bool:
            return holds_erased_union(path, digest, LiveErased(workspace, {}, erased(int(KEYS[3]), through=through)))

        assert is_found(DAY) and is_found(NEXT)
        assert not is_found(DAY - timedelta(days=1))


class TestHoldsErasedRows:
    def test_whoever_is_erased_through_the_last_day_must_be_gone(self, tmp_path: Path) -> None:
        """A user of a union is found when erased on its last day, hence on all, and not when erased on the first."""
        path = tmp_path / "windows.parquet"
        union_of(path, first=DAY, last=NEXT)
        assert holds_erased_rows(path, erased(int(KEYS[3]), through=NEXT))
        assert not holds_erased_rows(path, erased(int(KEYS[3]), through=DAY))
