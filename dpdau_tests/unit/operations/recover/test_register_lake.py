"""Taking the key files on disk into a ledger: intact ones with their digests, others so that readers are told."""

from __future__ import annotations

from datetime import date

from dpdau_assets.operations.recover.register_lake import Registered, register_lake, register_orphan_batches
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.disk.durable import file_digest
from dpdau_assets.storage.ledger import partitions
from dpdau_tests.support.verified_folders import flip
from dpdau_tests.unit.operations.recover.damaged_folders import (
    DAYS,
    FIRST,
    LATER,
    MIDDLE,
    file_of,
    recorded,
    staged_digests,
)


def registered(workspace: Workspace, *, held_from: date = date(1970, 1, 1), is_put_back: bool = False) -> Registered:
    """What a restore finds on disk."""
    with workspace.lake.lock(), workspace.ledger.write() as connection:
        return register_lake(
            connection,
            workspace.lake,
            files_of_batch={},
            held_from=held_from,
            is_put_back=is_put_back,
            now=workspace.clock(),
        )


class TestRegisterLake:
    def test_intact_files_get_the_rows_they_had(self, workspace: Workspace) -> None:
        """Raw events and staged files are recorded as before; what is made from them is recorded no more."""
        raw, staged = recorded(workspace), staged_digests(workspace)
        found = registered(workspace)
        assert (found.damaged, found.missing, found.repaired) == (0, 0, 0)
        assert (found.raw_files, found.staged) == (sum(map(len, raw.values())), len(staged))
        assert (recorded(workspace), staged_digests(workspace)) == (raw, staged)
        with workspace.ledger.read() as connection:
            assert {asset for asset, _ in partitions.load(connection, ["erasure_replay", "mau_unions"])} == set()

    def test_a_damaged_file_is_taken_from_the_live_users(self, workspace: Workspace) -> None:
        """Raw events that are altered come back where the live users of their day are intact."""
        path = file_of(workspace, "raw_events")
        flip(path)
        found = registered(workspace)
        assert (found.repaired, found.damaged) == (1, 0)
        assert file_digest(path) in recorded(workspace)[MIDDLE].values()

    def test_a_file_that_nothing_brings_back_fits_no_bytes(self, workspace: Workspace) -> None:
        """A damaged file keeps a row whose digest is not its own, so that no reader counts without it."""
        path = file_of(workspace, "raw_events")
        flip(path)
        file_of(workspace, "erasure_replay").unlink()
        found = registered(workspace)
        assert (found.repaired, found.damaged) == (0, 1)
        row = recorded(workspace)[MIDDLE]
        assert path.stem.removeprefix("e") in row and file_digest(path) not in row.values()

    def test_days_before_the_floor_get_no_row(self, workspace: Workspace) -> None:
        """What retention has dropped does not come back, for the tombstones of its days are gone."""
        registered(workspace, held_from=MIDDLE)
        assert set(recorded(workspace)) == set(DAYS) - {FIRST}


class TestRegisterOrphanBatches:
    def test_a_lost_batch_comes_in_under_a_new_name(self, workspace: Workspace) -> None:
        """Staged files of a batch that no row names are recorded under a new name, and their source may come again."""
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("DELETE FROM staged_files")
            name = connection.exec_driver_sql("SELECT batch FROM batches ORDER BY seq DESC LIMIT 1").scalar()
            connection.exec_driver_sql("DELETE FROM batches WHERE batch = ?", (name,))
        with workspace.lake.lock(), workspace.ledger.write() as connection:
            assert register_orphan_batches(connection, workspace.lake, held_from=FIRST, now=workspace.clock()) == 1
            names = set(connection.exec_driver_sql("SELECT batch FROM batches").scalars())
        assert name not in names
        assert {day for day, _, _ in staged_digests(workspace)} == {LATER}
