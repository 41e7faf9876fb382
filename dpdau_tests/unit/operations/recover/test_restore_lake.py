"""Putting the data of a copy back, and forgetting the batches that are lost with it."""

from __future__ import annotations

import shutil

import pytest

from dpdau_assets.errors import DataError
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.restore_lake import drop_batches, put_lake_back
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.verified_folders import flip
from dpdau_tests.unit.operations.recover.damaged_folders import MIDDLE, file_of, staged_digests


class TestPutLakeBack:
    def test_lost_files_are_those_of_the_copy(self, workspace: Workspace) -> None:
        """Raw events, unions and staged files hold the bytes of the copy again, which is the answer."""
        copy = backup(workspace, with_lake=True).made[-1]
        paths = [file_of(workspace, "raw_events"), file_of(workspace, "mau_unions")]
        paths += sorted((workspace.lake.root / "staging").rglob("*.parquet"))
        before = [path.read_bytes() for path in paths]
        flip(paths[0])
        shutil.rmtree(paths[1].parent)
        paths[2].unlink()
        with workspace.lake.lock():
            assert put_lake_back(workspace.lake, workspace.ledger_id).path == copy.path
        assert [path.read_bytes() for path in paths] == before

    @pytest.mark.parametrize("fault", ["damaged", "of another ledger"])
    def test_without_a_copy_to_trust_nothing_is_touched(self, workspace: Workspace, fault: str) -> None:
        """A copy that is damaged or of another ledger is refused, and the files in place stay."""
        copy = backup(workspace, with_lake=True).made[-1]
        if fault == "damaged":
            flip(sorted(copy.path.rglob("*.parquet"))[0])
        flip(file_of(workspace, "raw_events"))
        before = file_of(workspace, "raw_events").read_bytes()
        with workspace.lake.lock(), pytest.raises(DataError):
            put_lake_back(workspace.lake, workspace.ledger_id if fault == "damaged" else "another")
        assert file_of(workspace, "raw_events", MIDDLE).read_bytes() == before


class TestDropBatches:
    def test_only_a_newer_batch_without_all_its_files_is_forgotten(self, workspace: Workspace) -> None:
        """A batch of which a file is missing goes, for its source can come again; an older or complete one stays."""
        with workspace.ledger.write() as connection:
            newest = connection.exec_driver_sql("SELECT max(seq) FROM batches").scalar_one()
            files = connection.exec_driver_sql(f"SELECT count(*) FROM staged_files WHERE batch_seq = {newest}").scalar()
            had = {newest: files}
            assert drop_batches(connection, {}, files_of_batch=had, after=newest) == 0
            assert drop_batches(connection, had, files_of_batch=had, after=newest - 1) == 0
            assert drop_batches(connection, {}, files_of_batch=had, after=newest - 1) == 1
        assert staged_digests(workspace) == set()
