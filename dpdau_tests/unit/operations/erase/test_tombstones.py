"""For which epochs an erasure is remembered, and whom a source must leave out of the others."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.erase.tombstones import erasure_filter_of, needs_erasure_filter, tombstone_epochs
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace, stage_activity

DAY = date(2026, 3, 20)
LONG_AGO = date(2010, 5, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty data folder without a series."""
    return new_workspace(tmp_path / "data")


class TestEpochs:
    def test_the_reference_epoch_is_that_of_the_first_erased_day(self, workspace: Workspace) -> None:
        """With nothing held one epoch is enough; an earlier day that is held later adds its own."""
        calendar = workspace.salts.calendar
        with workspace.ledger.write() as connection:
            chosen = tombstone_epochs(workspace, connection, DAY)
        assert (chosen.reference_epoch, chosen.epochs) == (calendar.epoch_of(DAY), (calendar.epoch_of(DAY),))
        stage_activity(workspace, [("a", LONG_AGO)])
        with workspace.ledger.write() as connection:
            later = tombstone_epochs(workspace, connection, DAY)
        assert later.reference_epoch == chosen.reference_epoch
        assert set(later.epochs) == {chosen.reference_epoch, *calendar.keyed_epochs(LONG_AGO, 30)}

    def test_no_epoch_from_the_reference_epoch_on_is_left_out(self, workspace: Workspace) -> None:
        """A later last day adds every epoch up to its own."""
        with workspace.ledger.write() as connection:
            reference_epoch = tombstone_epochs(workspace, connection, DAY).reference_epoch
            last = DAY + timedelta(days=400)
            later = tombstone_epochs(workspace, connection, last)
        assert later.epochs == tuple(range(reference_epoch, workspace.salts.calendar.epoch_of(last) + 1))


class TestIngestErasureFilter:
    def test_it_names_everybody_erased_under_the_reference_epoch(self, workspace: Workspace) -> None:
        """Nobody while nobody is erased; afterwards each erased user's pseudonym under the reference epoch."""
        with workspace.ledger.read() as connection:
            assert erasure_filter_of(workspace, connection) is None
        request_erasure(workspace, [b"a"], through=DAY, now=LONG_AFTER)
        with workspace.ledger.read() as connection:
            erased = erasure_filter_of(workspace, connection)
        assert erased is not None
        assert erased.keys.tolist() == user_keys(workspace.salts.epoch_key(erased.epoch), [b"a"]).tolist()

    def test_days_before_the_reference_epoch_need_it(self, workspace: Workspace) -> None:
        """A day keyed under an epoch that tombstones may leave out needs the filter; none does before an erasure."""
        with workspace.ledger.read() as connection:
            assert not needs_erasure_filter(workspace, connection, [LONG_AGO])
        request_erasure(workspace, [b"a"], through=DAY, now=LONG_AFTER)
        with workspace.ledger.read() as connection:
            assert needs_erasure_filter(workspace, connection, [DAY, LONG_AGO])
            assert not needs_erasure_filter(workspace, connection, [DAY + timedelta(days=40)])  # keyed under one epoch
