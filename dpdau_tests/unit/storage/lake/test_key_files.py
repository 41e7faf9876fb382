"""Files appear whole or not at all, with bytes that depend on their content only."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpdau_assets.errors import DataError
from dpdau_assets.storage.disk import durable
from dpdau_assets.storage.lake import key_files


def random_keys(count: int, seed: int = 1) -> np.ndarray:
    return np.unique(np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64))


class TestKeyFiles:
    @pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 127, 128, 1000, 131_072, 131_073, 300_000])
    def test_keys_come_back_as_they_were(self, tmp_path: Path, count: int) -> None:
        """Reading returns exactly the keys written, at every size around pages and row groups."""
        keys = random_keys(count)
        key_files.write_keys(tmp_path / "k.parquet", keys)
        found = key_files.read_keys(tmp_path / "k.parquet")
        assert found.dtype == np.uint64
        assert np.array_equal(found, keys)

    @pytest.mark.parametrize("count", [0, 1, 50, 131_073])
    def test_the_short_way_agrees_with_arrow_and_duckdb(self, tmp_path: Path, count: int) -> None:
        """Every reader sees the same keys, the largest and the smallest included."""
        keys = np.union1d(random_keys(count), np.array([0, 2**64 - 1], np.uint64)) if count else random_keys(0)
        path = tmp_path / "k.parquet"
        key_files.write_keys(path, keys)
        arrow = pq.read_table(path).column("user_key").to_numpy()
        rows = duckdb.connect().execute("SELECT user_key FROM read_parquet(?)", [str(path)]).fetchnumpy()["user_key"]
        assert np.array_equal(key_files.read_keys(path), arrow)
        assert np.array_equal(np.asarray(rows, np.uint64), arrow)

    def test_equal_keys_are_equal_bytes(self, tmp_path: Path) -> None:
        """Two files of the same keys have the same bytes and the digest is that of the bytes."""
        keys = random_keys(1000)
        first = key_files.write_keys(tmp_path / "a.parquet", keys)
        second = key_files.write_keys(tmp_path / "b" / "c.parquet", keys.copy())
        content = (tmp_path / "a.parquet").read_bytes()
        assert content == (tmp_path / "b" / "c.parquet").read_bytes()
        assert first == second == hashlib.sha256(content).hexdigest() == durable.file_digest(tmp_path / "a.parquet")

    def test_one_key_changes_the_digest(self, tmp_path: Path) -> None:
        """Another set of keys has another digest."""
        keys = random_keys(1000)
        assert key_files.write_keys(tmp_path / "a", keys) != key_files.write_keys(tmp_path / "b", keys[1:])

    def test_a_foreign_parquet_file_is_refused(self, tmp_path: Path) -> None:
        """A Parquet file without our column, or with another type, is a DataError."""
        key_files.write_table(tmp_path / "other", pa.table({"name": ["x"]}))
        key_files.write_table(tmp_path / "signed", pa.table({"user_key": pa.array([1], pa.int64())}))
        for name in ("other", "signed"):
            with pytest.raises(DataError):
                key_files.read_keys(tmp_path / name)

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"not a file of ours at all, but long enough"])
    def test_a_damaged_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        """Bytes that are no Parquet file are a DataError that does not quote them."""
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(DataError) as caught:
            key_files.read_keys(tmp_path / "k")
        assert "not a file of ours" not in str(caught.value)

    def test_every_truncation_is_refused(self, tmp_path: Path) -> None:
        """No prefix of a key file is taken for a key file."""
        key_files.write_keys(tmp_path / "k", random_keys(5))
        content = (tmp_path / "k").read_bytes()
        for length in range(len(content)):
            (tmp_path / "cut").write_bytes(content[:length])
            with pytest.raises(DataError):
                key_files.read_keys(tmp_path / "cut")

    def test_altered_bytes_do_not_pass_the_digest(self, tmp_path: Path) -> None:
        """With a digest given, a changed byte is a DataError."""
        digest = key_files.write_keys(tmp_path / "k", random_keys(50))
        content = bytearray((tmp_path / "k").read_bytes())
        content[60] ^= 1
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(DataError, match="does not hold the bytes"):
            key_files.read_keys(tmp_path / "k", digest=digest)

    def test_a_missing_file_is_a_data_error(self, tmp_path: Path) -> None:
        """A recorded file that is gone is reported as such by every reader."""
        for read in (key_files.read_keys, key_files.read_table, durable.file_digest, durable.read_bytes):
            with pytest.raises(DataError, match="does not exist"):
                read(tmp_path / "gone")
