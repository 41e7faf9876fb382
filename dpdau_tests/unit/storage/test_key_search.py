"""Finding keys in a key file without reading it: the same answer as reading it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.errors import DataError
from dpdau_assets.storage import files, key_search
from dpdau_assets.storage.key_search import found_keys, holds_any, key_count_at_most

any_key = st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)


def sorted_keys(values: set[int]) -> files.Keys:
    return np.array(sorted(values), np.uint64)


class TestFoundKeys:
    @settings(deadline=None, max_examples=60)
    @given(
        held=st.sets(any_key, min_size=1, max_size=40),
        wanted=st.sets(any_key, max_size=20),
        group_rows=st.sampled_from([1, 3, 1000]),
    )
    def test_it_is_the_intersection(self, held: set[int], wanted: set[int], group_rows: int) -> None:
        """Over any keys, in one page or many, exactly the keys that file and question share are found."""
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "ROW_GROUP_ROWS", group_rows)
            path = Path(folder) / "keys.parquet"
            files.write_keys(path, sorted_keys(held))
            some = sorted_keys(wanted | set(sorted(held)[::3]))
            assert found_keys(path, some).tolist() == sorted((wanted & held) | set(sorted(held)[::3]))
            assert holds_any(path, sorted_keys(wanted)) == bool(wanted & held)

    def test_a_large_file_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys are found in a file of several pages, at its ends and across them, without reading it whole."""
        held = np.arange(1, 3 * files.ROW_GROUP_ROWS, dtype=np.uint64) * np.uint64(7)
        path = tmp_path / "keys.parquet"
        files.write_keys(path, held)
        monkeypatch.setattr(key_search, "read_keys", lambda _path: pytest.fail("the file was read"))
        assert found_keys(path, np.array([0, 7, 8, held[-1], held[-1] + np.uint64(7)], np.uint64)).tolist() == [
            7,
            int(held[-1]),
        ]
        edges = held[[files.ROW_GROUP_ROWS - 1, files.ROW_GROUP_ROWS, 2 * files.ROW_GROUP_ROWS]]
        assert found_keys(path, edges).tolist() == edges.tolist()
        assert not holds_any(path, np.array([0, 1, 2**64 - 1], np.uint64))

    def test_a_file_of_another_layout_is_read(self, tmp_path: Path) -> None:
        """Compressed pages with a dictionary give the same answer, by reading them."""
        path = tmp_path / "keys.parquet"
        held = np.arange(1000, dtype=np.uint64)
        pq.write_table(pa.table({"user_key": held}), path, compression="snappy", row_group_size=100)
        assert found_keys(path, np.array([5, 999, 1000], np.uint64)).tolist() == [5, 999]

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"nothing of ours" * 20])
    def test_what_is_no_key_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        """A damaged file is an error, never an answer."""
        path = tmp_path / "keys.parquet"
        path.write_bytes(content)
        with pytest.raises(DataError):
            holds_any(path, np.array([5], np.uint64))

    def test_a_missing_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A recorded file that is gone is reported as such."""
        with pytest.raises(DataError, match="does not exist"):
            holds_any(tmp_path / "keys.parquet", np.array([5], np.uint64))
        with pytest.raises(DataError, match="does not exist"):
            key_count_at_most(tmp_path / "keys.parquet")

    def test_the_size_bounds_the_keys(self, tmp_path: Path) -> None:
        """A file has no more keys than its size says."""
        path = tmp_path / "keys.parquet"
        files.write_keys(path, np.arange(777, dtype=np.uint64))
        assert 777 <= key_count_at_most(path) <= 2 * 777
