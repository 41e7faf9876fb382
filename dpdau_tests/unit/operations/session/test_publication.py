"""Publications: files and rows become visible together, and nothing but what was intended is healed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError, StorageError
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.session.publication import (
    partition_files,
    publication,
    publish,
    recover,
)
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.lake.key_files import write_keys
from dpdau_assets.storage.lake.layout import ASSETS, MAU_UNIONS, RAW_EVENTS, partition_name
from dpdau_assets.storage.ledger import partitions
from dpdau_assets.storage.ledger.partitions import Partition
from dpdau_tests.support.workspaces import digests, key_files, new_workspace, stage_activity

DAY = date(2026, 5, 5)
DAYS = DayRange.single(DAY)


class StandInCrashError(Exception):
    """Stands for a crash."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return new_workspace(tmp_path / "data")


def interrupt_before_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise StandInCrashError

    monkeypatch.setattr(partitions, "save", stop)


class TestPublish:
    def test_leaving_without_publishing_leaves_nothing(self, workspace: Workspace) -> None:
        """A publication that is not published leaves no file, no row and no intent."""
        path = workspace.lake.partition_path(RAW_EVENTS, DAY, epoch=1)
        with workspace.lake.lock(), publication(workspace) as new:
            new.files.write_keys(path, np.array([1], np.uint64))
        assert key_files(workspace) == {}
        assert not workspace.lake.intent_path.exists()

    def test_files_that_a_partition_no_longer_has_go(self, workspace: Workspace) -> None:
        """A partition that loses an epoch loses its file; the intent is gone at the end."""
        first, second = (workspace.lake.partition_path(RAW_EVENTS, DAY, epoch=epoch) for epoch in (1, 2))
        with workspace.lake.lock():
            with publication(workspace) as new:
                files = {"1": new.files.write_keys(first, np.array([1], np.uint64))}
                files["2"] = new.files.write_keys(second, np.array([2], np.uint64))
                both = Partition(RAW_EVENTS, DAY, files, "", 0)
                new.rows.append(both)
                publish(workspace, new, {})
            with publication(workspace) as new:
                new.rows.append(Partition(RAW_EVENTS, DAY, {"2": files["2"]}, "", 0))
                publish(workspace, new, {(RAW_EVENTS, DAY): both})
        assert (first.exists(), second.exists()) == (False, True)
        assert not workspace.lake.intent_path.exists()


class TestNames:
    @pytest.mark.parametrize("asset", ASSETS)
    def test_names_are_those_of_the_paths(self, workspace: Workspace, asset: str) -> None:
        """Comparing names finds the same files as comparing paths."""
        files = {"windows": "d"} if asset == MAU_UNIONS else {"7": "d", "12": "e"}
        paths = partition_files(workspace.lake, asset, DAY, files)
        assert [path.name for path in paths] == [partition_name(asset, name) for name in files]
        assert {path.parent for path in paths} == {workspace.lake.partition_folder(asset, DAY)}


class TestRecover:
    def test_nothing_to_do_without_an_intent(self, workspace: Workspace) -> None:
        """An intact folder needs no recovery."""
        assert recover(workspace) is False

    def test_files_in_place_count_as_folded(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        """StandInCrashError after the files moved, the fold is completed: staged files are forgotten and gone."""
        stage_activity(workspace, [("a", DAY), ("b", DAY)])
        with monkeypatch.context() as patch:
            interrupt_before_the_ledger(patch)
            with pytest.raises(StandInCrashError):
                fold(workspace, DAYS)
        assert digests(workspace) == {}
        with workspace.lake.lock():
            assert recover(workspace) is True
            assert recover(workspace) is False
        assert set(digests(workspace)) == {(RAW_EVENTS, DAY)}
        assert all(name.startswith("lake/raw_events") for name in key_files(workspace))

    def test_a_file_that_nobody_intended_is_not_believed(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file changed between the crash and the recovery is reported, and nothing is recorded."""
        stage_activity(workspace, [("a", DAY)])
        with monkeypatch.context() as patch:
            interrupt_before_the_ledger(patch)
            with pytest.raises(StandInCrashError):
                fold(workspace, DAYS)
        path = next((workspace.lake.root / "lake" / RAW_EVENTS).rglob("*.parquet"))
        write_keys(path, np.array([1, 2, 3], np.uint64))
        with workspace.lake.lock(), pytest.raises(DataError, match="does not hold the bytes"):
            recover(workspace)
        assert digests(workspace) == {}

    def test_a_damaged_intent_is_reported(self, workspace: Workspace) -> None:
        """An intent that cannot be read stops the operation with a next step."""
        workspace.lake.intent_path.write_bytes(b"{")
        with pytest.raises(DataError, match="damaged") as caught:
            fold(workspace, DAYS)
        assert caught.value.hint

    def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No space while files are written: a StorageError, nothing recorded; with space again the fold succeeds."""
        stage_activity(workspace, [("a", DAY)])
        with monkeypatch.context() as patch:

            def full(*_: object, **__: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr("os.replace", full)
            with pytest.raises(StorageError, match="disk is full") as caught:
                fold(workspace, DAYS)
        assert "\n" not in caught.value.message
        assert fold(workspace, DAYS) == {DAY}
