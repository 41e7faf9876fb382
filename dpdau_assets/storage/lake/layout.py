"""Defines the path of everything in a data folder: every name below DATA_DIR is written here once.

Belongs here: names and paths. Does not belong here: making, locking or reading anything. Names on disk never change,
because this version must open the folders of earlier ones. The settings name Dagster's home, which may lie elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

INBOX, STAGING, LAKE, TEMPORARY = "inbox", "staging", "lake", "tmp"
DONE = "done"
"""The folder below the inbox where KEEP_SOURCES keeps sources."""
LEDGERS, SECRETS, JOURNAL, BACKUPS = "ledgers", "secrets", "journal", "backups"
REPORTS, PUBLISHED, PLACEHOLDERS, STREAMS = "reports", "published", "placeholders", "streams"
QUARANTINE, CERTIFICATES, ROTATIONS = f"{REPORTS}/quarantine", f"{REPORTS}/certificates", f"{REPORTS}/rotations.md"
METRICS_CSV, METRICS, REPORT = f"{PUBLISHED}/metrics.csv", f"{PUBLISHED}/metrics.parquet", f"{PUBLISHED}/report.html"
CATALOGUE = "dpdau.duckdb"

PRIVATE_FOLDERS = (INBOX, STAGING, LAKE, TEMPORARY, LEDGERS, REPORTS, QUARANTINE)
"""Folders that only the owner may open, because they hold raw ids, pseudonyms and exact counts."""
OPEN_FOLDERS = (PUBLISHED,)

RAW_EVENTS, ERASURE_REPLAY, DAILY_SKETCHES, MAU_UNIONS = "raw_events", "erasure_replay", "daily_sketches", "mau_unions"
ASSETS = (RAW_EVENTS, ERASURE_REPLAY, DAILY_SKETCHES, MAU_UNIONS)
"""The folders of lake/, which are the assets that have files, in the order in which they are made."""

LOCK = ".lock"
LEDGER_ID, INTENT, JOURNAL_END = ".ledger-id", ".intent.json", ".journal-end"
LAKE_FILES = (LOCK, LEDGER_ID, INTENT, JOURNAL_END)
"""Files of lake/ that are not partitions."""

DAY_MARK, KEYS_SUFFIX = "day=", ".parquet"
WINDOWS = "windows"
"""The name by which the ledger row of a partition of mau_unions refers to its file."""
FILES_OF_DAYS = f"{DAY_MARK}*/*{KEYS_SUFFIX}"
KEY_FILE = re.compile(r"e(\d+)\.parquet")
STAGED_FILE = re.compile(r"([0-9a-f]{32})-e(\d+)\.parquet")


def day_name(day: date) -> str:
    """The name of the folder of a day's files."""
    return f"{DAY_MARK}{day.isoformat()}"


def day_of(folder: str) -> date | None:
    """The day of a folder with this name; None if the name is not that of a day's folder."""
    try:
        return date.fromisoformat(folder.removeprefix(DAY_MARK)) if folder.startswith(DAY_MARK) else None
    except ValueError:
        return None


def staged_name(batch: str, epoch: int) -> str:
    """The name of the staged file of one batch and epoch."""
    return f"{batch}-e{epoch}{KEYS_SUFFIX}"


def partition_name(asset: str, name: str) -> str:
    """The name of the file that a partition's ledger row refers to as `name`: an epoch, or `WINDOWS`."""
    return f"{name}{KEYS_SUFFIX}" if asset == MAU_UNIONS else f"e{name}{KEYS_SUFFIX}"


@dataclass(frozen=True)
class Layout:
    """The paths of the data folder `root`.

    Attributes:
        root: DATA_DIR, absolute.
    """

    root: Path

    @property
    def inbox(self) -> Path:
        """The folder into which sources are put."""
        return self.root / INBOX

    @property
    def staging(self) -> Path:
        """Staged key files by day."""
        return self.root / STAGING

    @property
    def partitions(self) -> Path:
        """The files of the assets, by asset and day."""
        return self.root / LAKE

    @property
    def temporary_root(self) -> Path:
        """Spill and pending files, which hold pseudonyms but no raw ids."""
        return self.root / TEMPORARY

    @property
    def lock_path(self) -> Path:
        """The file of the lake lock."""
        return self.root / LAKE / LOCK

    @property
    def intent_path(self) -> Path:
        """The intent of the publication under way."""
        return self.root / LAKE / INTENT

    @property
    def journal_end_path(self) -> Path:
        """The file beside the journal with the number of its last line."""
        return self.root / LAKE / JOURNAL_END

    @property
    def ledger_path(self) -> Path:
        """The SQLite ledger, unless DATABASE_URL says otherwise."""
        return self.root / LEDGERS / "ledger.sqlite"

    @property
    def ledger_id_path(self) -> Path:
        """The file that names the ledger to which these files belong."""
        return self.root / LAKE / LEDGER_ID

    @property
    def secrets_path(self) -> Path:
        """The salt store."""
        return self.root / SECRETS / "salts.json"

    @property
    def shared_noise_keys_folder(self) -> Path:
        """The keys of encrypted shared noise, one file per budget account."""
        return self.root / SECRETS / "offsets"

    @property
    def journal_folder(self) -> Path:
        """The journal of the ledger; its second copy is elsewhere."""
        return self.root / JOURNAL

    @property
    def backups(self) -> Path:
        """Copies of the ledger and of the lake."""
        return self.root / BACKUPS

    @property
    def backups_lock_path(self) -> Path:
        """The file of the lock that a process holds while it writes backups."""
        return self.root / BACKUPS / LOCK

    @property
    def published(self) -> Path:
        """Exports: public values only."""
        return self.root / PUBLISHED

    @property
    def catalogue_path(self) -> Path:
        """The DuckDB catalogue of views."""
        return self.root / CATALOGUE

    @property
    def streams(self) -> Path:
        """Synthetic streams that were written for this folder."""
        return self.root / STREAMS

    @property
    def rotations_path(self) -> Path:
        """The list of salt rotations: dates and fingerprints, no secret."""
        return self.root / ROTATIONS

    # Each path is made by one join, because a fold over decades makes a hundred thousand paths.

    def staging_path(self, day: date, *, batch: str, epoch: int) -> Path:
        """The staged key file of one batch, day and epoch."""
        return Path(f"{self.root}/{STAGING}/{day_name(day)}/{staged_name(batch, epoch)}")

    def partition_folder(self, asset: str, day: date) -> Path:
        """The folder with the files of one partition."""
        return Path(f"{self.root}/{LAKE}/{asset}/{day_name(day)}")

    def partition_path(self, asset: str, day: date, *, epoch: int) -> Path:
        """The file of one asset, day and epoch."""
        return Path(f"{self.root}/{LAKE}/{asset}/{day_name(day)}/e{epoch}{KEYS_SUFFIX}")

    def windows_path(self, day: date) -> Path:
        """The file of mau_unions for windows that end at `day`."""
        return self.partition_folder(MAU_UNIONS, day) / partition_name(MAU_UNIONS, WINDOWS)

    def quarantine_path(self, batch: str) -> Path:
        """The report of a batch's rejected rows: reasons and line numbers, no ids."""
        return self.root / QUARANTINE / f"{batch}.json"

    def certificate_path(self, request: str) -> Path:
        """The certificate of an erasure request."""
        return self.root / CERTIFICATES / f"{request}.md"
