"""The exported files: public columns, whole files, one row per metric and day."""

from __future__ import annotations

import csv
import errno
import os
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.release.release import BODY_FIELDS
from dpdau_assets.errors import StorageError
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, everybody, open_folder

THREE_DAYS = DayRange(NEW_YEAR, date(2025, 1, 3))


def released_folder(path: Path) -> Workspace:
    """A folder with three released days."""
    workspace = open_folder(path)
    add_activity(workspace, everybody(60, days=3))
    publish_releases(workspace, METRICS, THREE_DAYS)
    return workspace


class TestExportMetrics:
    def test_both_files_hold_every_released_value(self, tmp_path: Path) -> None:
        """One row per metric and day with the values of the release bodies, equal in CSV and Parquet."""
        workspace = released_folder(tmp_path)
        csv_path, parquet_path = export_metrics(workspace)
        rows = pq.read_table(parquet_path).to_pylist()
        bodies = publish_releases(workspace, METRICS, THREE_DAYS).results
        assert [(row["metric"], row["day"], row["estimate"]) for row in rows] == sorted(
            ((result.metric, result.day, result.estimate) for result in bodies), key=lambda row: (row[1], row[0])
        )
        with csv_path.open(newline="") as stream:
            texts = list(csv.DictReader(stream))
        assert [(row["metric"], row["day"], float(row["estimate"])) for row in texts] == [
            (row["metric"], row["day"].isoformat(), row["estimate"]) for row in rows
        ]

    def test_the_columns_are_those_of_a_body(self, tmp_path: Path) -> None:
        """Nothing but public fields is exported: no draw, no time, no reason."""
        workspace = released_folder(tmp_path)
        csv_path, parquet_path = export_metrics(workspace)
        assert tuple(pq.read_schema(parquet_path).names) == BODY_FIELDS
        assert csv_path.read_text().splitlines()[0] == ",".join(BODY_FIELDS)

    def test_a_revision_replaces_the_value(self, tmp_path: Path) -> None:
        """The latest revision of a day is exported, once."""
        workspace = released_folder(tmp_path)
        revised = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR), revise=True, reason="wrong zone")
        rows = pq.read_table(export_metrics(workspace)[1]).to_pylist()
        found = [row for row in rows if (row["metric"], row["day"]) == ("dau", NEW_YEAR)]
        assert [(row["revision"], row["estimate"]) for row in found] == [(1, revised.results[0].estimate)]

    def test_an_empty_ledger_gives_headers(self, tmp_path: Path) -> None:
        """Without releases both files exist with their columns and no rows."""
        csv_path, parquet_path = export_metrics(open_folder(tmp_path))
        assert len(csv_path.read_text().splitlines()) == 1
        assert pq.read_table(parquet_path).num_rows == 0

    def test_the_same_releases_give_the_same_bytes(self, tmp_path: Path) -> None:
        """Exporting twice changes nothing."""
        workspace = released_folder(tmp_path)
        first = [path.read_bytes() for path in export_metrics(workspace)]
        assert [path.read_bytes() for path in export_metrics(workspace)] == first

    def test_a_full_disk_leaves_the_old_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A reader sees the previous export whole when the new one cannot be written."""
        workspace = released_folder(tmp_path)
        before = [path.read_bytes() for path in export_metrics(workspace)]
        publish_releases(workspace, METRICS, DayRange.single(date(2025, 1, 4)))

        def full(*_args: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(StorageError, match="disk is full"):
                export_metrics(workspace)
        folder = workspace.lake.published
        assert [(folder / name).read_bytes() for name in ("metrics.csv", "metrics.parquet")] == before
        assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "metrics.parquet"]
