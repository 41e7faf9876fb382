"""Backups: sound copies without a secret, and an end to old ones."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.journal.lines import files_in, read
from dpdau_tests.support.lost_ledgers import (
    destroy_ledger,
    new_folder,
    release,
    restored,
    spend,
)
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    NOW,
    add_activity,
    everybody,
    open_folder,
)

pytestmark = pytest.mark.one_is_enough


@pytest.fixture
def folder(tmp_path: Path) -> Workspace:
    """A data folder with twelve users on each of six days."""
    return new_folder(tmp_path / "data")


class TestBackup:
    def test_a_copy_is_intact_named_by_its_day_and_described(self, folder: Workspace) -> None:
        """The copy passes SQLite's checks and its manifest tells its place in the journal and when it goes."""
        release(folder, 0)
        made = backup(folder).made[0]
        assert made.path.name == "ledger-20251201.sqlite" and not made.path.with_name(made.path.name + "-wal").exists()
        with closing(sqlite3.connect(made.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert connection.execute("SELECT count(*) FROM releases").fetchone() == (3,)
        manifest = json.loads(made.path.with_suffix(".json").read_bytes())
        assert manifest["journal_seq"] == read(folder.lake.journal_folder).lines[-1].seq
        assert manifest["first_day"] <= NEW_YEAR.isoformat() and manifest["expires_at"] > manifest["created_at"]
        assert made.path.stat().st_mode & 0o077 == 0

    def test_no_copy_holds_a_secret(self, folder: Workspace) -> None:
        """Nothing below backups/ holds a secret of the salt store."""
        backup(folder, with_lake=True)
        stored = json.loads(folder.lake.secrets_path.read_bytes())
        secrets = [*stored["secrets"].values(), stored["batch_key"]]
        copies = [path.read_bytes() for path in folder.lake.backups.rglob("*") if path.is_file()]
        assert len(copies) > 4
        for secret in secrets:
            assert not any(secret.encode() in copy or bytes.fromhex(secret) in copy for copy in copies)

    @pytest.mark.slow
    def test_old_copies_and_what_only_they_needed_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A copy past BACKUP_RETENTION_DAYS is removed by the next, with the journal files that no copy needs."""
        monkeypatch.setattr("dpdau_assets.storage.journal.journal.FILE_BYTES", 2000)
        workspace = open_folder(tmp_path / "data", backup_retention_days=3)
        add_activity(workspace, everybody(3, days=2))
        first = backup(workspace).made[0].path
        release(workspace, 0, 1)
        workspace.close()
        later = open_folder(tmp_path / "data", backup_retention_days=3, now=NOW + timedelta(days=4))
        before = len(files_in(later.lake.journal_folder))
        report = backup(later)
        assert report.removed == (first.name,) and not first.exists() and not first.with_suffix(".json").exists()
        assert report.journal_files_dropped > 0
        assert len(files_in(later.lake.journal_folder)) == before - report.journal_files_dropped > 0
        expected = spend(later)
        destroy_ledger(later)
        again, found = restored(later)
        assert spend(again) == expected and found.gaps == ()
