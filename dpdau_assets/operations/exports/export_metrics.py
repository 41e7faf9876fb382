"""The released values as files for readers: published/metrics.csv and published/metrics.parquet.

Belongs here: which columns leave the house, and that a reader never sees half a file. Both files are written whole from
the ledger each time; the latest revision of each metric and day is in them, earlier ones stay in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv

from dpdau_assets.core.release.release import ReleaseResult
from dpdau_assets.errors import DataError
from dpdau_assets.operations.exports.stored_values import stored_values
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import make_durable, write_bytes
from dpdau_assets.storage.lake.key_files import read_table, write_table
from dpdau_assets.storage.lake.layout import METRICS, METRICS_CSV
from dpdau_assets.storage.lake.tables import METRIC_SCHEMA


def export_metrics(workspace: Workspace) -> list[Path]:
    """Writes every released value, by day and metric; the paths of the CSV and the Parquet file.

    The same releases give the same bytes. Each file appears whole or not at all.

    Args:
        workspace: The open data folder.

    Raises:
        StorageError: The disk refused; the files written before stay.
    """
    results = stored_values(workspace)
    paths = [workspace.lake.root / name for name in (METRICS_CSV, METRICS)]
    write_bytes(paths[0], metrics_csv(results))
    write_table(paths[1], _table(results))
    make_durable(paths)
    return paths


def metrics_csv(results: Sequence[ReleaseResult]) -> bytes:
    """Released values as the exported CSV, in the order given: a line of names, then one for each value."""
    sink = pa.BufferOutputStream()
    sink.write((",".join(METRIC_SCHEMA.names) + "\n").encode())
    arrow_csv.write_csv(_table(results), sink, arrow_csv.WriteOptions(include_header=False, quoting_style="none"))
    return bytes(sink.getvalue())


def exported_days(workspace: Workspace) -> list[date]:
    """The days of which the published files hold a value, newest first; none while there are no intact files."""
    path = workspace.lake.root / METRICS
    try:
        days = read_table(path, columns=["day"]).column("day") if path.is_file() else []
    except DataError:  # the next export writes them anew
        days = []
    return sorted({day.as_py() for day in days}, reverse=True)


def _table(results: Sequence[ReleaseResult]) -> pa.Table:
    columns = [
        pa.array([getattr(result, field.name) for result in results], type=field.type) for field in METRIC_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=METRIC_SCHEMA)
