"""A pseudonym in a file is found however the format writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_assets.operations.verify.file_scan import holds_any
from dpdau_assets.storage.scan.byte_search import KeySearch

KEY, OTHER = 0x9E37_79B9_7F4A_7C15, 0x0123_4567_89AB_CDEF
SEARCH = KeySearch(np.array([KEY], np.uint64))


def write_column(path: Path, key: int, compression: str) -> None:
    """A Parquet file of one pseudonym a thousand times, which no compression leaves as it was."""
    pq.write_table(pa.table({"key": pa.array([key] * 1000, pa.uint64())}), path, compression=compression)


class TestHoldsAny:
    @pytest.mark.parametrize("order", ["little", "big"])
    def test_a_number_between_other_bytes_is_found(self, tmp_path: Path, order: str) -> None:
        """The 64 bits of a pseudonym are found at any offset; those of another are not."""
        path = tmp_path / "any.bin"
        for key, is_held in ((KEY, True), (OTHER, False)):
            path.write_bytes(b"abc" + key.to_bytes(8, "big" if order == "big" else "little") + b"de")
            assert holds_any(SEARCH, path) is is_held

    @pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
    def test_a_column_of_parquet_is_decoded(self, tmp_path: Path, compression: str) -> None:
        """A pseudonym in a compressed column is found although the file's bytes may not show it."""
        path = tmp_path / "any.parquet"
        for key, is_held in ((KEY, True), (OTHER, False)):
            write_column(path, key, compression)
            assert holds_any(SEARCH, path) is is_held

    def test_a_file_that_is_gone_holds_nothing(self, tmp_path: Path) -> None:
        """A file that another process has removed, and a folder, hold no pseudonym."""
        assert not holds_any(SEARCH, tmp_path / "gone")
        assert not holds_any(SEARCH, tmp_path)
