"""Copies of the salt store: made for safe keeping, and brought back when the store is lost.

Belongs here: which copy may become the store of a data folder again. Encryption belongs to storage (`salt_export`). A
copy made before an epoch was destroyed still holds that epoch's secret, wherever it lies; here it never comes back.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpdau_assets.errors import ConfigurationError, DpdauError, InputError
from dpdau_assets.operations.lifecycle.rotate_salt import list_rotations
from dpdau_assets.operations.session.open_workspace import ledger_url
from dpdau_assets.operations.session.workspace import SALTS_KEY, Workspace
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.disk.durable import make_durable, write_new
from dpdau_assets.storage.disk.os_errors import storage_errors
from dpdau_assets.storage.keys import salt_export, salt_file
from dpdau_assets.storage.keys.salt_file import FILE_MODE
from dpdau_assets.storage.keys.salt_store import SaltStore
from dpdau_assets.storage.lake.lake import Lake
from dpdau_assets.storage.ledger import salt_facts
from dpdau_assets.storage.ledger.ledger import get_meta, open_existing

SHORTEST_PASSPHRASE = 8
MOST_EXPORT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportedSalts:
    """What came of an import (public).

    Attributes:
        fingerprint: Of the store.
        lowest_epoch: The first epoch whose secret it holds.
        is_unchanged: Whether the folder had this very store; nothing was written then.
    """

    fingerprint: str
    lowest_epoch: int
    is_unchanged: bool


def describe_salts(workspace: Workspace) -> dict[str, Any]:
    """The store without its secrets: fingerprint, epoch of today, epochs that can still be keyed, manual rotations."""
    salts, today = workspace.salts, workspace.today()
    epoch = salts.calendar.epoch_of(today)
    return {
        "fingerprint": salts.fingerprint(),
        "lowest_epoch": salts.lowest_epoch,
        "lowest_epoch_first_day": salts.calendar.first_day(salts.lowest_epoch).isoformat(),
        "epoch": epoch,
        "epoch_first_day": salts.calendar.first_day(epoch).isoformat(),
        "epoch_last_day": salts.calendar.last_day(epoch).isoformat(),
        "rotation_days": salts.calendar.segments[-1].rotation_days,
        "rotations": [
            {
                "made_at": record.made_at,
                "effective": record.effective.isoformat(),
                "epoch": record.epoch,
                "rotation_days": record.rotation_days,
                "fingerprint": record.fingerprint,
            }
            for record in salts.rotations()
        ],
    }


def export_salts(workspace: Workspace, path: Path, passphrase: str) -> str:
    """Writes the store, encrypted, to a new file that only its owner can read; the store's fingerprint.

    Args:
        workspace: The open data folder.
        path: The file; must not exist.
        passphrase: At least 8 characters; sensitive. All the secrecy the copy has.

    Raises:
        InputError: The file exists, or the passphrase is too short.
        StorageError: The file cannot be written.
    """
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise InputError(
            f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters",
            hint="whoever finds the file can try every short one",
        )
    if path.exists():
        raise InputError(f"{path} exists", hint="name a new file; an export never replaces one")
    fingerprint = workspace.salts.fingerprint()
    write_new(
        path, salt_export.encrypt(workspace.salts.document(), passphrase, fingerprint=fingerprint), mode=FILE_MODE
    )
    make_durable([path])
    return fingerprint


def import_salts(settings: Settings, path: Path, passphrase: str) -> ImportedSalts:
    """Brings an exported store back into the data folder of `settings`, whose own may be missing or damaged.

    Guarantee: only the very store that the stored pseudonyms were made with, as it was after the last rotation, is
    accepted, and an epoch that was destroyed since the export stays destroyed.

    Args:
        settings: All settings.
        path: The export.
        passphrase: What it was encrypted to; sensitive.

    Raises:
        InputError: The file is no export, or the passphrase is wrong.
        ConfigurationError: It is another store than the data folder's, or older than its last rotation.
        StorageError: Disk or ledger refused.
    """
    store = SaltStore(salt_export.decrypt(_export_bytes(path), passphrase))
    lake = Lake(settings.root)
    ledger = open_existing(ledger_url(settings, lake))
    identity = recorded = None
    lowest = 0
    if ledger is not None:
        with ledger.read() as connection:
            identity, recorded = get_meta(connection, SALTS_KEY), salt_facts.fingerprint(connection)
            lowest = salt_facts.destroyed_below(connection)
        ledger.close()
    _check_fits(store, identity=identity, recorded=recorded)
    present = _present(lake)
    if present is not None and present.fingerprint() == store.fingerprint():
        return ImportedSalts(present.fingerprint(), present.lowest_epoch, is_unchanged=True)
    if identity is None and lake.secrets_path.exists():
        raise ConfigurationError(
            "the data folder has a salt store of its own",
            hint=f"remove {lake.secrets_path} first: nothing depends on it",
        )
    lake.make_folders()
    salt_file.put(lake.secrets_path, store.without_epochs_below(lowest).document())
    list_rotations(lake, store)
    return ImportedSalts(store.fingerprint(), max(lowest, store.lowest_epoch), is_unchanged=False)


def _export_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint="name a file made by `dpdau salts export`")
    with storage_errors(path, "read"), path.open("rb") as stream:
        return stream.read(MOST_EXPORT_BYTES)


def _check_fits(store: SaltStore, *, identity: str | None, recorded: str | None) -> None:
    if identity not in (None, store.identity()):
        raise ConfigurationError(
            "the export is not of the salt store that the stored pseudonyms were made with",
            hint="look for the export of this data folder; reports/rotations.md lists its fingerprints",
        )
    if recorded not in (None, store.fingerprint()):
        raise ConfigurationError(
            f"the export has fingerprint {store.fingerprint()}, but the last rotation made {recorded}",
            hint="look for an export made after that rotation",
        )


def _present(lake: Lake) -> SaltStore | None:
    """The store in its place, None when it is missing or cannot be used."""
    if lake.secrets_path.exists():
        with suppress(DpdauError):
            return SaltStore(salt_file.read(lake.secrets_path))
    return None
