"""Putting the data of a copy back: raw events and unions are replaced, staged files that are missing are added.

Belongs here: the files of `restore --lake`, and which batches are lost with it. Their rows belong to `register_lake`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, delete, select

from dpdau_assets.errors import DataError
from dpdau_assets.storage.backups import backups
from dpdau_assets.storage.backups.backups import LAKE_PARTS, Backup
from dpdau_assets.storage.disk.durable import make_durable, make_names_durable, temporary_name, write_new
from dpdau_assets.storage.disk.os_errors import make_folder, storage_errors
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.lake.layout import FILES_OF_DAYS, STAGING
from dpdau_assets.storage.ledger import schema
from dpdau_assets.storage.ledger.journal_entries import add_journal_entry


def put_lake_back(lake: Lake, ledger_id: str | None) -> Backup:
    """Replaces raw events and unions by those of the newest intact copy and adds its staged files; that copy.

    Hold the lake lock. A process killed in here leaves folders missing; the next attempt puts them back.

    Args:
        lake: The files.
        ledger_id: The ledger they belong to, None when it is not known.

    Raises:
        DataError: There is no intact copy of the data.
        StorageError: The disk refused.
    """
    copies = (one for one in backups.known(lake.backups) if one.is_lake and ledger_id in (None, one.manifest.ledger_id))
    chosen = next((one for one in copies if backups.is_intact(one)), None)
    if chosen is None:
        raise DataError(
            f"no copy of the data in {lake.backups} is intact",
            hint="bring one from elsewhere; without any, `dpdau rebuild --start DAY --end DAY --accept-loss` goes on "
            "without the lost files of those days",
        )
    for name, part in LAKE_PARTS.items():
        if name != STAGING:
            _replace_folder(chosen, name, lake.root / part)
    for source in sorted((chosen.path / STAGING).glob(FILES_OF_DAYS)):
        target = lake.staging / source.parent.name / source.name
        if not target.exists():
            make_folder(target.parent)
            write_new(target, source.read_bytes())
            make_durable([target])
    return chosen


def _replace_folder(chosen: Backup, name: str, place: Path) -> None:
    pending = place.parent / temporary_name(place)
    with storage_errors(place, "put back"):
        shutil.copytree(chosen.path / name, pending) if (chosen.path / name).is_dir() else pending.mkdir()
        make_durable([path for path in pending.rglob("*") if path.is_file()])
        if place.exists():
            shutil.rmtree(place)
        pending.rename(place)
    make_names_durable({place, place.parent})


def drop_batches(
    connection: Connection, staged: Mapping[int, int], *, files_of_batch: Mapping[int, int], after: int
) -> int:
    """Forgets batches newer than the copy whose files are not all staged, so that they can be ingested again; how many.

    Args:
        connection: The write transaction of the restored ledger.
        staged: Staged files found by batch.
        files_of_batch: How many files the journal says a batch staged.
        after: The newest batch that the copy holds.
    """
    newer = connection.scalars(select(schema.batches.c.seq).where(schema.batches.c.seq > after))
    lost = [seq for seq in newer if files_of_batch.get(seq) != staged.get(seq, 0)]
    for seq in lost:
        connection.execute(delete(schema.staged_files).where(schema.staged_files.c.batch_seq == seq))
        connection.execute(delete(schema.batches).where(schema.batches.c.seq == seq))
        add_journal_entry(connection, "batch_discarded", {"seq": seq})
    return len(lost)
