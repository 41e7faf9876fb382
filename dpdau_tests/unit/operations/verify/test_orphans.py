"""Files that no row of the ledger names, and what killed processes left."""

from __future__ import annotations

import shutil
from datetime import timedelta

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.orphans import verify_orphans
from dpdau_assets.storage.lake.key_files import read_keys
from dpdau_tests.support.verified_folders import DAYS, FIRST, key_of
from dpdau_tests.unit.operations.verify.looked_at import places_in_lake


class TestOrphans:
    def test_named_files_are_none(self, workspace: Workspace) -> None:
        """Nothing is found where a row names every file, and a file that an operation has waiting is its own."""
        with workspace.lake.temporary_folder() as folder:
            (folder / "waiting").write_bytes(key_of(workspace).to_bytes(8, "little"))
            assert places_in_lake(workspace, verify_orphans, DAYS) == set()

    def test_a_file_of_nobody_is_named_by_its_path(self, workspace: Workspace) -> None:
        """A strange file is unknown, and erased when it holds a pseudonym that must be gone."""
        path = workspace.lake.root / "staging" / "notes.txt"
        path.write_text("nothing")
        assert places_in_lake(workspace, verify_orphans, DAYS) == {("unknown", "staging/notes.txt")}
        path.write_text(str(key_of(workspace)))
        assert places_in_lake(workspace, verify_orphans, DAYS) == {("erased", "staging/notes.txt")}

    def test_a_partition_without_a_row_is_told_by_its_kind(self, workspace: Workspace) -> None:
        """A file in the shape of a partition is told without its day; it holds live users only, so it is unknown."""
        epoch = workspace.salts.calendar.epoch_of(FIRST)
        source = workspace.lake.partition_path("raw_events", FIRST, epoch=epoch)
        assert read_keys(source).size
        target = workspace.lake.partition_path("raw_events", FIRST - timedelta(days=400), epoch=epoch)
        target.parent.mkdir()
        shutil.copyfile(source, target)
        assert places_in_lake(workspace, verify_orphans, DAYS) == {("unknown", "raw_events")}

    def test_what_a_killed_process_left_is_a_leftover(self, workspace: Workspace) -> None:
        """A temporary folder of a process that is no more is found by its path."""
        folder = workspace.lake.temporary_root / "batch-999999999-ab"
        folder.mkdir(parents=True)
        (folder / "half.parquet").write_bytes(b"PAR1")
        assert places_in_lake(workspace, verify_orphans, DAYS) == {("leftover", "tmp/batch-999999999-ab")}
