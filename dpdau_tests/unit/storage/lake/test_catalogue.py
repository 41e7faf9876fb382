"""The catalogue shows what the lake holds, before and after there is data."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from dpdau_assets.storage.lake.catalogue import write_catalogue
from dpdau_assets.storage.lake.key_files import write_keys, write_table
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.tables import METRIC_SCHEMA, UNION_SCHEMA

VIEWS = ("raw_events", "erasure_replay", "activity_log", "mau_unions", "published_metrics")
DAY = date(2026, 2, 3)


def count(lake: Lake, view: str) -> int:
    with duckdb.connect(str(lake.catalogue_path), read_only=True) as connection:
        row = connection.execute(f"SELECT count(*) FROM {view}").fetchone()
    assert row is not None
    return int(row[0])


class TestCatalogue:
    def test_an_empty_lake_has_empty_views(self, lake: Lake) -> None:
        """Every view can be queried before the first event."""
        lake.write_catalogue()
        assert {view: count(lake, view) for view in VIEWS} == dict.fromkeys(VIEWS, 0)

    def test_views_show_data_written_later(self, lake: Lake) -> None:
        """A catalogue written at the start shows later files, with day and epoch of each key."""
        lake.write_catalogue()
        for asset in ("raw_events", "erasure_replay"):
            write_keys(lake.partition_path(asset, DAY, epoch=228), np.array([7, 2**64 - 1], np.uint64))
        union = {"window_days": 7, "first_day": DAY, "last_day": DAY, "epoch": 228, "sketch_impl": "set", "users": 2}
        write_table(lake.windows_path(DAY), pa.Table.from_pylist([{**union, "sketch": None}], schema=UNION_SCHEMA))
        row = dict.fromkeys(METRIC_SCHEMA.names) | {"metric": "dau", "day": DAY}
        write_table(lake.published / "metrics.parquet", pa.Table.from_pylist([row], schema=METRIC_SCHEMA))
        assert [count(lake, view) for view in VIEWS] == [2, 2, 2, 1, 1]
        with duckdb.connect(str(lake.catalogue_path), read_only=True) as connection:
            rows = connection.execute("SELECT user_key, day, op, epoch FROM activity_log ORDER BY 1").fetchall()
        assert rows == [(7, DAY, "+", 228), (2**64 - 1, DAY, "+", 228)]

    def test_it_works_from_another_folder_and_process(self, lake: Lake) -> None:
        """Paths are absolute: a person may open the file from anywhere."""
        lake.write_catalogue()
        write_keys(lake.partition_path("erasure_replay", DAY, epoch=1), np.array([1], np.uint64))
        script = "import duckdb, sys; print(duckdb.connect(sys.argv[1]).execute('FROM activity_log').fetchall()[0][0])"
        found = subprocess.run(
            [sys.executable, "-c", script, str(lake.catalogue_path)],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout == "1\n"

    def test_strange_folder_names_are_taken_literally(self, lake: Lake) -> None:
        """Quotes and glob characters in DATA_DIR's name do not change the views."""
        strange = Lake(lake.root / "it's [a] *")
        strange.make_folders()
        write_keys(strange.partition_path("raw_events", DAY, epoch=1), np.array([1, 2], np.uint64))
        strange.write_catalogue()
        assert count(strange, "raw_events") == 2

    def test_the_catalogue_holds_no_rows(self, lake: Lake) -> None:
        """No table and no pseudonym is in the file itself, and nothing else is left beside it."""
        key = 0x0123456789ABCDEF
        write_keys(lake.partition_path("raw_events", DAY, epoch=1), np.array([key], np.uint64))
        target = write_catalogue(lake.root, lake.root / "dpdau.duckdb")
        assert key.to_bytes(8, "little") not in target.read_bytes()
        assert [path.name for path in lake.root.iterdir() if "duckdb" in path.name] == ["dpdau.duckdb"]
