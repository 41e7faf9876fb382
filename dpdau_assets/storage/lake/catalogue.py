"""Writes `dpdau.duckdb`, a catalogue of views over the lake for a person who opens it with DuckDB.

Belongs here: the SQL of the views, and the empty files that give each view its columns before there is any data. The
catalogue holds no rows of its own; pseudonyms stay in the lake's files. Views name absolute paths: after moving
DATA_DIR, write the catalogue again.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from dpdau_assets.core.quantities import EARLIEST_DAY
from dpdau_assets.errors import StorageError
from dpdau_assets.storage.disk.durable import replace, temporary_name, write_bytes
from dpdau_assets.storage.disk.os_errors import make_folder
from dpdau_assets.storage.lake.layout import (
    DAY_MARK,
    ERASURE_REPLAY,
    LAKE,
    MAU_UNIONS,
    METRICS,
    PLACEHOLDERS,
    PUBLISHED,
    RAW_EVENTS,
    WINDOWS,
    day_name,
    partition_name,
)
from dpdau_assets.storage.lake.parquet_bytes import table_bytes
from dpdau_assets.storage.lake.tables import KEY_SCHEMA, METRIC_SCHEMA, UNION_SCHEMA

KEY_VIEWS = (RAW_EVENTS, ERASURE_REPLAY)
SOURCES = f"[{LAKE[0]}{PLACEHOLDERS[0]}]*"
"""The folder of the lake and that of the empty files, which give each view its columns before there is data."""


def write_catalogue(root: Path, target: Path) -> Path:
    """Replaces `target` by a catalogue of the lake below `root` and returns it.

    Views: raw_events and erasure_replay (user_key, day, epoch), activity_log (user_key, day, op, epoch) over the live
    users, mau_unions, published_metrics. Each shows what its files hold when it is queried, and no rows before there
    are files; new data does not require another catalogue.

    Raises:
        StorageError: `target` cannot be written.
    """
    import duckdb  # this import takes 0.05 s, which no other command needs

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
    """Writes empty files with the right columns, because DuckDB refuses a view over a pattern that matches nothing."""
    folder = root / PLACEHOLDERS
    day = day_name(EARLIEST_DAY)
    for name in KEY_VIEWS:
        write_bytes(folder / name / day / partition_name(name, "0"), table_bytes(KEY_SCHEMA.empty_table()))
    write_bytes(
        folder / MAU_UNIONS / day / partition_name(MAU_UNIONS, WINDOWS), table_bytes(UNION_SCHEMA.empty_table())
    )
    write_bytes(folder / Path(METRICS).name, table_bytes(METRIC_SCHEMA.empty_table()))


def _views(root: Path) -> dict[str, str]:
    views = {name: _keys_view(root, name) for name in KEY_VIEWS}
    views["activity_log"] = "SELECT user_key, day, '+' AS op, epoch FROM erasure_replay"
    unions = _pattern(root, f"{SOURCES}/{MAU_UNIONS}/{DAY_MARK}*/{partition_name(MAU_UNIONS, WINDOWS)}")
    views[MAU_UNIONS] = f"SELECT {', '.join(UNION_SCHEMA.names)} FROM read_parquet({unions})"
    metrics = _pattern(root, f"{PUBLISHED[0]}*/{Path(METRICS).name}")
    views["published_metrics"] = f"SELECT {', '.join(METRIC_SCHEMA.names)} FROM read_parquet({metrics})"
    return views


def _keys_view(root: Path, name: str) -> str:
    pattern = _pattern(root, f"{SOURCES}/{name}/{DAY_MARK}*/{partition_name(name, '*')}")
    epoch = r"regexp_extract(filename, 'e(\d+)\.parquet$', 1)::INTEGER"
    return (
        f"SELECT user_key, day, {epoch} AS epoch FROM "
        f"read_parquet({pattern}, filename=true, hive_partitioning=true, hive_types={{'day': DATE}})"
    )


def _pattern(root: Path, relative: str) -> str:
    """Returns the glob as an SQL string; glob characters in the folder's own name are escaped."""
    base = "".join(f"[{character}]" if character in "[*?" else character for character in str(root))
    return "'" + f"{base}/{relative}".replace("'", "''") + "'"
