"""`dpdau.duckdb`: a catalogue of views over the lake for a person who opens it with DuckDB.

Belongs here: the SQL of the views, and the empty files that give each view its columns before there is any data. The
catalogue holds no rows of its own; pseudonyms stay in the lake's files. Views name absolute paths: after moving
DATA_DIR, write the catalogue again.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path

import pyarrow as pa

from dpdau_assets.errors import StorageError
from dpdau_assets.storage.disk.durable import replace, temporary_name
from dpdau_assets.storage.disk.os_errors import make_folder
from dpdau_assets.storage.lake.key_files import KEY_SCHEMA, write_table

PLACEHOLDERS = "placeholders"
"""Folder of the empty files; a view's pattern `[lp]*` matches it beside `lake`."""

UNION_SCHEMA = pa.schema(
    [
        pa.field("window_days", pa.int32(), nullable=False),
        pa.field("first_day", pa.date32(), nullable=False),
        pa.field("last_day", pa.date32(), nullable=False),
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("sketch_impl", pa.string(), nullable=False),
        pa.field("users", pa.int64()),
        pa.field("sketch", pa.binary()),
    ]
)
"""Columns of a file of mau_unions."""

METRIC_SCHEMA = pa.schema(
    [
        ("metric", pa.string()),
        ("day", pa.date32()),
        ("window_days", pa.int32()),
        ("window_complete", pa.bool_()),
        ("days_in_window", pa.int32()),
        ("estimate", pa.float64()),
        ("lower_95", pa.int64()),
        ("upper_95", pa.int64()),
        ("is_lower_bound", pa.bool_()),
        ("epsilon_used", pa.float64()),
        ("delta", pa.float64()),
        ("mechanism", pa.string()),
        ("sketch_impl", pa.string()),
        ("noise_source", pa.string()),
        ("private", pa.bool_()),
        ("revision", pa.int32()),
    ]
)
"""Columns of published/metrics.parquet."""

KEY_VIEWS = ("raw_events", "erasure_replay")


def write_catalogue(root: Path, target: Path) -> Path:
    """Replaces `target` by a catalogue of the lake below `root` and returns it.

    Views: raw_events and erasure_replay (user_key, day, epoch), activity_log (user_key, day, op, epoch) over the live
    users, mau_unions, published_metrics. Each shows what its files hold when it is queried, nothing before there are
    any; it never needs to be written again for new data.

    Raises:
        StorageError: `target` cannot be written.
    """
    import duckdb  # half a tenth of a second that no other command needs

    _write_placeholders(root)
    make_folder(target.parent)
    temporary = target.parent / temporary_name(target)
    try:
        with duckdb.connect(str(temporary)) as connection:
            for name, query in _views(root).items():
                connection.execute(f"CREATE VIEW {name} AS {query}")
        replace(temporary, target)
    except duckdb.Error as error:
        raise StorageError(
            f"cannot write the catalogue {target}: {type(error).__name__}", hint="check the disk that holds DATA_DIR"
        ) from None
    finally:
        for leftover in (temporary, temporary.with_name(temporary.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return target


def _write_placeholders(root: Path) -> None:
    """Empty files with the right columns: DuckDB refuses a view over a pattern that matches nothing."""
    folder = root / PLACEHOLDERS
    day = f"day={date(1970, 1, 1).isoformat()}"
    for name in KEY_VIEWS:
        write_table(folder / name / day / "e0.parquet", KEY_SCHEMA.empty_table())
    write_table(folder / "mau_unions" / day / "windows.parquet", UNION_SCHEMA.empty_table())
    write_table(folder / "metrics.parquet", METRIC_SCHEMA.empty_table())


def _views(root: Path) -> dict[str, str]:
    views = {name: _keys_view(root, name) for name in KEY_VIEWS}
    views["activity_log"] = "SELECT user_key, day, '+' AS op, epoch FROM erasure_replay"
    unions = _pattern(root, "[lp]*/mau_unions/day=*/windows.parquet")
    views["mau_unions"] = f"SELECT {', '.join(UNION_SCHEMA.names)} FROM read_parquet({unions})"
    metrics = _pattern(root, "p*/metrics.parquet")
    views["published_metrics"] = f"SELECT {', '.join(METRIC_SCHEMA.names)} FROM read_parquet({metrics})"
    return views


def _keys_view(root: Path, name: str) -> str:
    pattern = _pattern(root, f"[lp]*/{name}/day=*/e*.parquet")
    epoch = r"regexp_extract(filename, 'e(\d+)\.parquet$', 1)::INTEGER"
    return (
        f"SELECT user_key, day, {epoch} AS epoch FROM "
        f"read_parquet({pattern}, filename=true, hive_partitioning=true, hive_types={{'day': DATE}})"
    )


def _pattern(root: Path, relative: str) -> str:
    """A SQL string with the glob; glob characters in the folder's own name stand for themselves."""
    base = "".join(f"[{character}]" if character in "[*?" else character for character in str(root))
    return "'" + f"{base}/{relative}".replace("'", "''") + "'"
