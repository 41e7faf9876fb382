"""Copies below backups/: who may still be in which, until when, and what a killed backup left."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import timedelta
from itertools import count
from os import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dpdau_assets.core.sketches.kmv import KmvSketch
from dpdau_assets.errors import DataError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.certificate import certify
from dpdau_assets.operations.verify.findings import Verification
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.backups.backups import Backup, known
from dpdau_assets.storage.backups.unfinished_backups import settle_unfinished
from dpdau_assets.storage.disk.durable import file_digest
from dpdau_assets.storage.disk.lock import FileLock
from dpdau_assets.storage.lake.key_files import read_table, write_keys, write_table
from dpdau_assets.storage.ledger.ledger import set_meta, time_text
from dpdau_tests.support.crashes import Interrupted
from dpdau_tests.support.verified_folders import DAYS, FIRST, flip, follow, journal_file, key_of, the
from dpdau_tests.support.workspaces import LONG_AFTER


def rewrite_manifest(copy: Backup) -> None:
    """Makes the manifest of a copy name the bytes that the copy has now."""
    manifest = copy.path / "manifest.json" if copy.is_lake else copy.path.with_suffix(".json")
    if copy.is_lake:
        listed = {str(path.relative_to(copy.path)): file_digest(path) for path in sorted(copy.path.rglob("*.parquet"))}
        (copy.path / "files.json").write_text(json.dumps(listed), encoding="utf-8")
    digest = file_digest(copy.path / "files.json" if copy.is_lake else copy.path)
    document = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**document, "sha256": digest}), encoding="utf-8")


class TestBackups:
    def test_backups_of_a_clean_folder_are_clean(self, workspace: Workspace) -> None:
        """Copies made after every erasure was complete hold nobody who is erased."""
        backup(workspace, with_lake=True)
        assert verify(workspace) == Verification(())

    def test_a_pseudonym_in_a_copy_of_the_ledger(self, workspace: Workspace) -> None:
        """A copy of the ledger is searched page by page for whoever was completely erased in it."""
        copy, _ = backup(workspace, with_lake=True).made
        with closing(sqlite3.connect(copy.path)) as connection, connection:
            connection.execute("INSERT INTO meta VALUES ('planted', ?)", (key_of(workspace),))
        rewrite_manifest(copy)
        finding = the("erased", verify(workspace))
        assert finding.place == f"backups/{copy.path.name}"
        assert finding.repair.line.endswith("dpdau backup")

    @pytest.mark.parametrize("part", ["raw_events", "staging", "mau_unions"])
    def test_a_pseudonym_in_a_copy_of_the_lake(self, workspace: Workspace, part: str) -> None:
        """A copy of the lake is searched file by file, each for its own days."""
        _, copy = backup(workspace, with_lake=True).made
        day = FIRST + timedelta(days=6)
        epoch = workspace.salts.calendar.epoch_of(day)
        key = np.array([key_of(workspace, day=day)], np.uint64)
        folder = copy.path / part / f"day={day}"
        if part == "mau_unions":
            path = folder / "windows.parquet"
            table = read_table(path)
            rows = table.to_pylist()
            row = next(row for row in rows if row["epoch"] == epoch or row["window_days"] == 7)
            key = np.array([key_of(workspace, day=row["first_day"])], np.uint64)
            sketch = KmvSketch.from_bytes(row["sketch"])
            row["sketch"] = sketch.union(KmvSketch.from_keys(key, k=4096)).to_bytes()
            write_table(path, pa.Table.from_pylist(rows, schema=table.schema))
        else:
            name = f"e{epoch}.parquet" if part == "raw_events" else f"{'ab' * 16}-e{epoch}.parquet"
            write_keys(folder / name, key)
        rewrite_manifest(copy)
        finding = the("erased", verify(workspace))
        assert finding.place == f"backups/{copy.path.name}"
        assert str(day) not in json.dumps(finding.to_json())

    def test_an_older_copy_may_hold_the_data_and_the_certificate_says_until_when(self, workspace: Workspace) -> None:
        """A copy from before the request was complete is no finding; the certificate names the day it goes."""
        _, copy = backup(workspace, with_lake=True).made
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        with workspace.ledger.write() as connection:
            later = "2031-01-02T12:00:00.000000+00:00"
            connection.exec_driver_sql(
                "UPDATE erasure_requests SET completed_at = ? WHERE request = ?", (later, request)
            )
        assert verify(workspace) == Verification(())
        assert certify(workspace, request).last_backup_expires_at == copy.manifest.expires_at

    def test_a_clock_that_was_ahead_hides_no_copy(self, workspace: Workspace) -> None:
        """A copy made while the ledger's time was ahead of the clock may hold who was erased after it."""
        with workspace.ledger.write() as connection:
            set_meta(connection, "clock_high_water", time_text(LONG_AFTER + timedelta(days=2)))
        copy = backup(workspace, with_lake=True).made[0]
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        assert certify(workspace, request).last_backup_expires_at == copy.manifest.expires_at

    def test_a_clock_set_back_hides_no_copy(self, workspace: Workspace) -> None:
        """Which came first, copy or completion, is told by the journal, not by times that may go back."""
        ahead = open_workspace(workspace.settings, clock=lambda: LONG_AFTER + timedelta(hours=2))
        copy = backup(ahead).made[0]
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        assert certify(workspace, request).last_backup_expires_at == copy.manifest.expires_at

    def test_a_copy_past_its_date_is_found(self, workspace: Workspace) -> None:
        """A copy that should be gone may hold who is erased: no certificate before the next backup has removed it."""
        backup(workspace, with_lake=True)
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        later = open_workspace(workspace.settings, clock=lambda: LONG_AFTER + timedelta(days=31))
        found = verify(later).findings
        assert [(one.kind, one.repair.line) for one in found] == [("backup", "dpdau backup")] * 2
        with pytest.raises(DataError, match="past its date"):
            certify(later, request)
        follow(later, found[0])
        assert certify(later, request).last_backup_expires_at is None

    def test_a_damaged_copy(self, workspace: Workspace) -> None:
        """A copy with other bytes, or without a manifest, is found before it is needed."""
        ledger, lake = backup(workspace, with_lake=True).made
        flip(sorted(lake.path.rglob("*.parquet"))[0])
        flip(ledger.path)
        found = verify(workspace)
        assert [finding.kind for finding in found.findings] == ["backup", "backup"]
        ledger.path.with_suffix(".json").unlink()
        assert "no backup" in verify(workspace).findings[0].message

    def test_what_a_killed_backup_left(self, workspace: Workspace) -> None:
        """A half-made copy is found once nobody makes one."""
        backup(workspace)
        path = workspace.lake.backups / ".ledger-20310101.sqlite.tmp-9-1-ab"
        path.write_bytes(b"half")
        with FileLock(workspace.lake.backups / ".lock"), ThreadPoolExecutor(1) as pool:
            assert pool.submit(verify, workspace).result().ok
        finding = the("leftover", verify(workspace))
        follow(workspace, finding)
        assert verify(workspace) == Verification(())

    @pytest.mark.slow
    def test_a_backup_killed_between_its_two_renames_is_finished(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the renames of a copy stop, the finding's command leaves sound copies and nothing else."""
        whole = backup(workspace, with_lake=True).made
        for step in range(1, 7):
            renames = count(1)

            def stops(source: Path, target: Path, *, at: int = step, renames: Iterator[int] = renames) -> None:
                if Path(target).parent == workspace.lake.backups and next(renames) == at:
                    raise Interrupted
                replace(source, target)  # noqa: PTH105 - the very call that is replaced

            def keeps(*_: object, **__: object) -> None:
                """The process is dead: nothing is cleaned up."""

            with monkeypatch.context() as patched:
                patched.setattr("os.replace", stops)
                patched.setattr(Path, "unlink", keeps)
                patched.setattr(shutil, "rmtree", keeps)
                with suppress(Interrupted):
                    backup(workspace, with_lake=True)
            for finding in verify(workspace).findings:
                assert (finding.kind, finding.repair.line) in {("leftover", "dpdau backup"), ("backup", "dpdau backup")}
            settle_unfinished(workspace.lake.backups)
            assert verify(workspace) == Verification(())
            assert {one.path for one in known(workspace.lake.backups)} == {one.path for one in whole}

    def test_an_orphan_file_in_a_copy_of_the_lake(self, workspace: Workspace) -> None:
        """A copy that holds more than its list is found, and for what it is when that holds somebody."""
        _, copy = backup(workspace, with_lake=True).made
        path = copy.path / "raw_events" / "notes.parquet"
        path.write_bytes(b"x")
        assert "its list does not name" in the("backup", verify(workspace)).message
        path.write_bytes(key_of(workspace).to_bytes(8, "big"))
        follow(workspace, the("erased", verify(workspace)))

    def test_a_journal_whose_beginning_a_backup_replaced(self, workspace: Workspace) -> None:
        """Lines that a copy of the ledger holds may be dropped; without the copy they are missing."""
        copy = backup(workspace).made[0]
        path = journal_file(workspace)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[3:]))
        assert verify(workspace) == Verification(())
        copy.path.unlink()
        copy.path.with_suffix(".json").unlink()
        assert "lines are missing" in the("journal", verify(workspace)).message
