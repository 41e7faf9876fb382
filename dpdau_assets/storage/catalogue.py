"""`dpdau.duckdb`: a catalogue of views over the lake for a person who opens it with DuckDB.

Belongs here: the SQL of the views. The catalogue holds no rows of its own; pseudonyms stay in the lake's files. Views
name absolute paths, so move DATA_DIR and write the catalogue again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import duckdb

from dpdau_assets.errors import StorageError
from dpdau_assets.storage.faults import make_folder, storage_error
from dpdau_assets.storage.files import temporary_name

EMPTY_KEYS = "SELECT NULL::UBIGINT AS user_key, NULL::DATE AS day, NULL::INTEGER AS epoch WHERE false"
EMPTY_UNIONS = "SELECT NULL::DATE AS day WHERE false"
EMPTY_METRICS = "SELECT NULL::VARCHAR AS metric, NULL::DATE AS day, NULL::DOUBLE AS estimate WHERE false"


def write_catalogue(root: Path, target: Path) -> Path:
    """Replaces `target` by a catalogue of the lake below `root` and returns it.

    Views: raw_events and erasure_replay (user_key, day, epoch), activity_log (user_key, day, op, epoch) over the live
    users, mau_unions, published_metrics. A view over files that do not exist yet is empty: write the catalogue again
    once they do.

    Raises:
        StorageError: `target` cannot be written, or is open in another program.
    """
    make_folder(target.parent)
    temporary = target.parent / temporary_name(target)
    try:
        with duckdb.connect(str(temporary)) as connection:
            for name, query in _views(root).items():
                connection.execute(f"CREATE VIEW {name} AS {query}")
        os.replace(temporary, target)  # noqa: PTH105 - one spelling of rename in this package
    except duckdb.Error as error:
        raise StorageError(
            f"cannot write the catalogue {target}: {type(error).__name__}", hint="close programs that have it open"
        ) from None
    except OSError as error:
        raise storage_error(error, target, "write") from error
    finally:
        for leftover in (temporary, temporary.with_name(temporary.name + ".wal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return target


def _views(root: Path) -> dict[str, str]:
    views = {name: _keys_view(root / "lake" / name) for name in ("raw_events", "erasure_replay")}
    views["activity_log"] = "SELECT user_key, day, '+' AS op, epoch FROM erasure_replay"
    views["mau_unions"] = _files_view(root / "lake" / "mau_unions", "*/windows.parquet", EMPTY_UNIONS)
    views["published_metrics"] = _files_view(root / "published", "metrics.parquet", EMPTY_METRICS)
    return views


def _keys_view(folder: Path) -> str:
    if not any(folder.glob("day=*/e*.parquet")):
        return EMPTY_KEYS
    pattern = _quoted(folder / "day=*" / "e*.parquet")
    epoch = r"regexp_extract(filename, 'e(\d+)\.parquet$', 1)::INTEGER"
    return (
        f"SELECT user_key, day, {epoch} AS epoch FROM "
        f"read_parquet({pattern}, filename=true, hive_partitioning=true, hive_types={{'day': DATE}})"
    )


def _files_view(folder: Path, pattern: str, empty: str) -> str:
    if not any(folder.glob(pattern)):
        return empty
    return f"SELECT * FROM read_parquet({_quoted(folder / pattern)}, hive_partitioning=true, hive_types_autocast=true)"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
