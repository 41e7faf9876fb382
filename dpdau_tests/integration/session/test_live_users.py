"""The live users of a day are read in one way: whoever asks is refused a file that is not the recorded one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.lifecycle.apply_retention import apply_retention
from dpdau_assets.operations.monitor.quality import sketch_accuracy
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.release.counts_snapshot import count_partitions
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import frozen_windows
from dpdau_tests.support.workspaces import new_workspace, stage_activity

DAY = date(2026, 3, 1)
NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)


def _of_session(workspace: Workspace) -> None:
    with lake_session(workspace, DayRange.single(DAY)) as session:
        session.count_live(DAY)


def _of_release(workspace: Workspace) -> None:
    with lake_session(workspace, DayRange.single(DAY)) as session:
        count_partitions(session, [DAY], ["dau"])


def _of_check(workspace: Workspace) -> None:
    sketch_accuracy(workspace, DayRange.single(DAY))


def _of_trusted(workspace: Workspace) -> None:
    count_trusted(workspace, DAY, DAY)


def _built(folder: Path, *, sketch_impl: str) -> Workspace:
    workspace = new_workspace(folder, now=NOW, sketch_impl=sketch_impl, hash_salt_rotation_days=4000)
    stage_activity(workspace, [(f"user-{number}", DAY) for number in range(5)])
    bring_up_to_date(workspace, DayRange.single(DAY))
    return workspace


def _flip_a_key(workspace: Workspace) -> None:
    """Changes one byte of a key; the file's own footer still says how many keys there are."""
    epoch = workspace.salts.calendar.epoch_of(DAY)
    path = workspace.lake.partition_path("erasure_replay", DAY, epoch=epoch)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


class TestFlippedByte:
    @pytest.mark.parametrize(
        ("ask", "sketch_impl"),
        [(_of_session, "set"), (_of_release, "set"), (_of_check, "kmv"), (_of_trusted, "set")],
    )
    def test_every_reader_refuses_it(self, tmp_path: Path, ask: Callable[[Workspace], None], sketch_impl: str) -> None:
        """A session's count, a release's count, the check of sketches and trusted counts."""
        workspace = _built(tmp_path / "data", sketch_impl=sketch_impl)
        ask(workspace)
        _flip_a_key(workspace)
        with pytest.raises(DataError):
            ask(workspace)

    @pytest.mark.parametrize(("is_damaged", "kept"), [(False, 5), (True, None)])
    def test_retention_keeps_no_count_of_it(self, tmp_path: Path, is_damaged: bool, kept: int | None) -> None:
        """The day is dropped all the same; only the count of a file that is the recorded one outlives it."""
        folder = tmp_path / "data"
        workspace = _built(folder, sketch_impl="set")
        if is_damaged:
            _flip_a_key(workspace)
        workspace.close()
        later = new_workspace(
            folder,
            now=NOW + timedelta(days=55),
            sketch_impl="set",
            hash_salt_rotation_days=4000,
            retention_days=61,
        )
        apply_retention(later)
        with later.ledger.read() as connection:
            window = frozen_windows.load(connection, DAY, DAY).get((DAY, 1))
        assert (window.users if window else None) == kept
