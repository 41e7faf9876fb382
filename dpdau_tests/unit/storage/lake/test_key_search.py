"""Finding keys in a key file without reading it: the same answer as reading it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpdau_assets.errors import DataError
from dpdau_assets.storage.lake import key_files, key_search, parquet_bytes
from dpdau_assets.storage.lake.key_search import found_keys, holds_any, key_count_at_most
from dpdau_assets.storage.lake.plain_pages import PlainPage, plain_page
from dpdau_assets.storage.lake.tables import KEY_SCHEMA

any_key = st.integers(0, 2**64 - 1) | st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1)

OTHER_LAYOUTS: dict[str, dict[str, Any]] = {
    "snappy": {"compression": "snappy"},
    "zstd": {"compression": "zstd"},
    "dictionary": {"use_dictionary": True},
    "delta": {"column_encoding": {"user_key": "DELTA_BINARY_PACKED"}},
    "byte streams": {"column_encoding": {"user_key": "BYTE_STREAM_SPLIT"}},
    "pages": {"max_rows_per_page": 10},
    "a last page of a few": {"max_rows_per_page": 103, "write_statistics": False},
    "a last page of one": {"max_rows_per_page": 999, "write_statistics": False},
    "no statistics": {"write_statistics": False},
    "page version 2": {"data_page_version": "2.0"},
    "page index": {"write_page_index": True},
}


def sorted_keys(values: set[int]) -> key_files.Keys:
    return np.array(sorted(values), np.uint64)


class TestLayout:
    @pytest.mark.parametrize("count", [1, 999, 1000, 1001, 3500])
    def test_each_row_group_is_one_page_that_ends_with_its_keys(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
    ) -> None:
        """What a search relies on: a row group's only column is one plain page, its keys as they are in memory."""
        monkeypatch.setattr(parquet_bytes, "ROW_GROUP_ROWS", 1000)
        path, keys = tmp_path / "keys.parquet", np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2**50 + 7)
        key_files.write_keys(path, keys)
        content, footer = path.read_bytes(), pq.read_metadata(path)
        assert footer.num_row_groups == -(-count // 1000)
        for number in range(footer.num_row_groups):
            chunk, part = footer.row_group(number).column(0), keys[1000 * number : 1000 * (number + 1)]
            end = chunk.data_page_offset + chunk.total_compressed_size
            assert (chunk.num_values, chunk.compression, chunk.has_dictionary_page) == (
                len(part),
                "UNCOMPRESSED",
                False,
            )
            assert (chunk.statistics.min, chunk.statistics.max) == (int(part[0]), int(part[-1]))
            assert content[end - 8 * len(part) : end] == part.tobytes()
            assert plain_page(content, chunk.data_page_offset) == PlainPage(end - 8 * len(part), len(part))

    def test_any_other_bytes_are_no_page(self, tmp_path: Path) -> None:
        """A header that is cut off or altered is no page; nothing is raised and no key made up."""
        path, keys = tmp_path / "keys.parquet", np.arange(50, dtype=np.uint64)
        key_files.write_keys(path, keys)
        content = path.read_bytes()
        start = plain_page(content, 4).start  # type: ignore[union-attr]
        for cut in range(4, start + 399):
            assert plain_page(content[:cut], 4) is None
        for position in range(4, start):
            for bit in range(8):
                altered = bytearray(content)
                altered[position] ^= 1 << bit
                found = key_files.single_page(bytes(altered))
                assert found is None or found.tolist() == keys.tolist()


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
            patch.setattr(parquet_bytes, "ROW_GROUP_ROWS", group_rows)
            path = Path(folder) / "keys.parquet"
            key_files.write_keys(path, sorted_keys(held))
            some = sorted_keys(wanted | set(sorted(held)[::3]))
            assert found_keys(path, some).tolist() == sorted((wanted & held) | set(sorted(held)[::3]))
            assert holds_any(path, sorted_keys(wanted)) == bool(wanted & held)

    def test_a_large_file_is_not_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keys are found in a file of several pages, at its ends and across them, without reading it whole."""
        held = np.arange(1, 3 * parquet_bytes.ROW_GROUP_ROWS, dtype=np.uint64) * np.uint64(7)
        path = tmp_path / "keys.parquet"
        key_files.write_keys(path, held)
        monkeypatch.setattr(key_search, "read_keys", lambda _path: pytest.fail("the file was read"))
        assert found_keys(path, np.array([0, 7, 8, held[-1], held[-1] + np.uint64(7)], np.uint64)).tolist() == [
            7,
            int(held[-1]),
        ]
        edges = held[[parquet_bytes.ROW_GROUP_ROWS - 1, parquet_bytes.ROW_GROUP_ROWS, 2 * parquet_bytes.ROW_GROUP_ROWS]]
        assert found_keys(path, edges).tolist() == edges.tolist()
        assert not holds_any(path, np.array([0, 1, 2**64 - 1], np.uint64))

    @pytest.mark.parametrize("rows_of_group", [104, 1000])
    @pytest.mark.parametrize("layout", OTHER_LAYOUTS)
    def test_a_file_of_another_layout_gives_the_same_answer(
        self, tmp_path: Path, layout: str, rows_of_group: int
    ) -> None:
        """Compressed, encoded or split into several pages: the same keys are found and read, by whatever way."""
        path = tmp_path / "keys.parquet"
        held = np.sort(np.random.default_rng(5).integers(0, 2**63, 1000, np.uint64))
        options = {"compression": "none", "use_dictionary": False, **OTHER_LAYOUTS[layout]}
        table = pa.Table.from_arrays([pa.array(held)], schema=KEY_SCHEMA)
        pq.write_table(table, path, row_group_size=rows_of_group, **options)
        wanted = np.sort(np.concatenate([held[::97], held[-1:] + np.uint64(1)]))
        assert found_keys(path, wanted).tolist() == held[::97].tolist()
        assert key_files.read_keys(path).tolist() == held.tolist()

    def test_a_file_whose_pages_do_not_lie_as_ours_is_read_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The way for other layouts is reading everything, not guessing where keys are."""
        path, read = tmp_path / "keys.parquet", []
        held = np.arange(1000, dtype=np.uint64)
        pq.write_table(pa.table({"user_key": held}), path, compression="snappy", row_group_size=100)

        def noting(file: Path) -> key_files.Keys:
            read.append(file)
            return key_files.read_keys(file)

        monkeypatch.setattr(key_search, "read_keys", noting)
        assert found_keys(path, np.array([5, 999, 1000], np.uint64)).tolist() == [5, 999]
        assert read == [path]

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
        key_files.write_keys(path, np.arange(777, dtype=np.uint64))
        assert 777 <= key_count_at_most(path) <= 2 * 777
