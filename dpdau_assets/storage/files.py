"""Files that appear whole or not at all, with deterministic bytes.

Belongs here: writing key files and tables as Parquet, atomic replacement, links, digests, durability.
Does not belong here: where a file lives (`lake`), what the ledger says about it (`partitions`).

Nothing here prints or raises a value of the data.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dpdau_assets.errors import DataError
from dpdau_assets.storage.columns import fixed_width
from dpdau_assets.storage.faults import make_folder, storage_error, storage_errors
from dpdau_assets.storage.plain_pages import plain_page

Keys = npt.NDArray[np.uint64]

KEY_COLUMN = "user_key"
KEY_SCHEMA = pa.schema([pa.field(KEY_COLUMN, pa.uint64(), nullable=False)])
ROW_GROUP_ROWS = 131_072
TEMPORARY_MARK = ".tmp-"
"""Part of the name of every file that has not taken its place yet."""
EMPTY_DIGEST = hashlib.sha256(b"").hexdigest()
FSYNC_EACH_LIMIT = 16
MAGIC = b"PAR1"
"""How every Parquet file starts and ends."""

_serial = itertools.count()


def key_bytes(keys: Keys) -> pa.Buffer:
    """The Parquet bytes of a key file; the same keys always give the same bytes.

    Args:
        keys: uint64[n], sorted, unique; sensitive.
    """
    array = fixed_width(keys.astype(np.uint64, copy=False), pa.uint64())
    return table_bytes(pa.Table.from_arrays([array], schema=KEY_SCHEMA))


def table_bytes(table: pa.Table) -> pa.Buffer:
    """The Parquet bytes of `table` under fixed writer options, so that equal content is equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROW_GROUP_ROWS,
        version="2.6",
        use_dictionary=False,
        compression="NONE",
        write_statistics=True,
        data_page_size=ROW_GROUP_ROWS * 8 * 2,
        max_rows_per_page=ROW_GROUP_ROWS,
        write_page_checksum=True,
        store_schema=False,
    )
    return sink.getvalue()


def write_keys(path: Path, keys: Keys) -> str:
    """Replaces `path` by a key file and returns the SHA-256 of its bytes (64 hex characters).

    The file appears whole or not at all; it is durable only after `make_durable`. To replace files that are the only
    copy of their content, use a `WriteBatch`.

    Args:
        path: Where the file goes; its folder is made.
        keys: uint64[n], sorted, unique; sensitive.

    Raises:
        StorageError: The disk is full or not writable; nothing is left behind.
    """
    return write_bytes(path, key_bytes(keys))


def write_table(path: Path, table: pa.Table) -> str:
    """Replaces `path` by `table` as deterministic Parquet; result and guarantees as `write_keys`."""
    return write_bytes(path, table_bytes(table))


def write_bytes(path: Path, content: bytes | pa.Buffer, *, mode: int = 0o666) -> str:
    """Replaces `path` by `content`; result and guarantees as `write_keys`. `mode` is narrowed by the umask."""
    make_folder(path.parent)
    temporary = path.parent / temporary_name(path)
    digest = write_new(temporary, content, mode=mode)
    replace(temporary, path)
    return digest


def temporary_name(path: Path) -> str:
    """A hidden name that no other process and no other call uses."""
    return f".{path.name}{TEMPORARY_MARK}{os.getpid()}-{next(_serial)}-{os.urandom(4).hex()}"


def write_new(path: Path, content: bytes | pa.Buffer, *, mode: int = 0o666) -> str:
    """Writes a file that must not exist yet and returns its digest; on failure the file is removed.

    Raises:
        StorageError: The disk is full or not writable.
    """
    view = memoryview(content).cast("B")
    with storage_errors(path, "write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            written = 0
            while written < len(view):
                written += os.write(descriptor, view[written : written + (1 << 30)])
        except BaseException:
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
            raise
        os.close(descriptor)
    return hashlib.sha256(view).hexdigest()


def replace(temporary: Path, path: Path) -> None:
    """Moves `temporary` to `path` at once; on failure `temporary` is removed."""
    with storage_errors(path, "replace"):
        try:
            os.replace(temporary, path)  # noqa: PTH105 - tests inject faults at the os level
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def link_or_copy_new(source: Path, temporary: Path) -> None:
    """As `link_or_copy`, to a name that must not exist yet."""
    try:
        os.link(source, temporary)
    except FileNotFoundError:
        raise missing_file(source) from None
    except OSError:
        write_new(temporary, read_bytes(source))


def read_bytes(path: Path, *, digest: str | None = None) -> bytes:
    """The bytes of a recorded file, checked against `digest` when given.

    Raises:
        DataError: The file is missing, or its bytes are not those recorded.
        StorageError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError as error:
        raise storage_error(error, path, "read") from error
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DataError(
            f"{path} does not hold the bytes that the ledger recorded", hint="run `dpdau rebuild` over that day"
        )
    return content


def missing_file(path: Path) -> DataError:
    """The error for a recorded file that is not there."""
    return DataError(f"{path} is recorded but does not exist", hint="run `dpdau rebuild` over that day")


def read_keys(path: Path, *, digest: str | None = None) -> Keys:
    """The keys of a key file: uint64[n], sorted, unique; sensitive.

    Args:
        path: A file made by `write_keys`.
        digest: When given, the file's bytes must have this SHA-256.

    Raises:
        DataError: The file is missing, altered or not a key file.
    """
    content = read_bytes(path, digest=digest)
    page = single_page(content)
    if page is not None:
        return page
    column = _column(path, content, KEY_COLUMN)
    if column.type != pa.uint64() or column.null_count:
        raise _not_parquet(path)
    keys: Keys = column.to_numpy()
    return keys


def check_key_file(path: Path) -> str | None:
    """The digest of a key file that nothing recorded, None when it is not whole.

    Whole means: Parquet with one column of pseudonyms, sorted, unique, every page with the checksum it was written with
    (files of versions that wrote none are taken without).

    Raises:
        StorageError: It cannot be read.
    """
    content = read_bytes(path)
    try:
        table = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read()
    except (pa.ArrowException, OSError):
        return None
    if table.schema.names != [KEY_COLUMN] or table.schema.field(0).type != pa.uint64() or table.column(0).null_count:
        return None
    keys = table.column(0).to_numpy()
    is_sorted = bool((keys[1:] > keys[:-1]).all())
    return hashlib.sha256(content).hexdigest() if is_sorted else None


def read_table(path: Path, *, digest: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """The table in a Parquet file, or some of its columns in the file's order; errors as `read_keys`."""
    content = read_bytes(path, digest=digest)
    try:
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError):
        raise _not_parquet(path) from None


def single_page(content: bytes | mmap.mmap) -> Keys | None:
    """The keys of a file with one plain page, six times faster than through Arrow; None for any other file."""
    if content[:4] != MAGIC or content[-4:] != MAGIC:
        return None
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    page = plain_page(content, len(MAGIC))
    if page is None or page.end != footer or content.find(b"\x18\x08user_key", footer) < 0:
        return None
    return np.frombuffer(content, np.uint64, page.count, page.start)


def _column(path: Path, content: bytes, name: str) -> pa.ChunkedArray:
    try:
        return pq.ParquetFile(pa.BufferReader(content)).read(columns=[name]).column(name)
    except (pa.ArrowException, OSError, KeyError):
        raise _not_parquet(path) from None


def _not_parquet(path: Path) -> DataError:
    return DataError(f"{path} is not a file this system wrote", hint="run `dpdau rebuild` over that day")


def file_digest(path: Path) -> str:
    """SHA-256 of the file's bytes, 64 hex characters; errors as `read_bytes`."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise missing_file(path) from None
    except OSError as error:
        raise storage_error(error, path, "read") from error


def remove(paths: Iterable[Path]) -> None:
    """Removes files; one that is gone already is fine, so a repeat after a crash is harmless."""
    for path in paths:
        with storage_errors(path, "remove"):
            path.unlink(missing_ok=True)


def make_durable(paths: Iterable[Path]) -> None:
    """Returns once the files and their names survive a power cut.

    Up to 16 files are synchronised one by one with their folders; more by one `syncfs` of their file system.

    Raises:
        StorageError: The disk refused.
    """
    chosen = list(paths)
    folders = {path.parent for path in chosen}
    if len(chosen) <= FSYNC_EACH_LIMIT or not _sync_file_systems(folders):
        _sync_each([*chosen, *sorted(folders)])


def make_names_durable(folders: set[Path]) -> None:
    """Returns once the names in `folders`, and the folders' own names, survive a power cut."""
    if len(folders) <= FSYNC_EACH_LIMIT or not _sync_file_systems(folders):
        _sync_each(sorted(folders | {folder.parent for folder in folders}))


def _sync_each(paths: Iterable[Path]) -> None:
    for path in paths:
        with storage_errors(path, "make durable"):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_file_systems(folders: Iterable[Path]) -> bool:
    """One syncfs per file system; False where the platform has no syncfs."""
    syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    seen: set[int] = set()
    for folder in folders:
        with storage_errors(folder, "make durable"):
            device = folder.stat().st_dev
            if device in seen:
                continue
            seen.add(device)
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if syncfs(descriptor) != 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(descriptor)
    return True
