"""Requesting an erasure: the receipt, and the tombstones that are recorded."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.hashing import user_keys
from dpdau_assets.errors import InputError
from dpdau_assets.operations.erase.request import erasure_status, request_erasure
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import erasures
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace

DAY = date(2026, 3, 1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty data folder."""
    return new_workspace(tmp_path / "data")


class TestRequestErasure:
    def test_the_receipt_counts_and_the_request_is_recorded(self, workspace: Workspace) -> None:
        """Repeats count once, users erased through that day before are known, and the list names both, newest first."""
        first = request_erasure(workspace, [b"a", b"b", b"a"], through=DAY, now=LONG_AFTER)
        second = request_erasure(workspace, [b"b", b"c"], through=DAY, now=LONG_AFTER)
        assert (first.requested, first.already_known) == (2, 0)
        assert (second.requested, second.already_known) == (2, 1)
        assert [(one["request"], one["users"]) for one in erasure_status(workspace)] == [
            (second.request, 2),
            (first.request, 2),
        ]

    def test_every_epoch_gets_the_pseudonym_of_that_epoch(self, workspace: Workspace) -> None:
        """The tombstones of an epoch are the user's pseudonym under its key, through the day asked for."""
        request_erasure(workspace, [b"a"], through=DAY, now=LONG_AFTER)
        with workspace.ledger.read() as connection:
            epochs = erasures.epochs(connection)
            assert workspace.salts.calendar.epoch_of(DAY) in epochs
            for epoch in epochs:
                tombstones = erasures.tombstones(connection, epoch)
                assert tombstones.keys.tolist() == user_keys(workspace.salts.epoch_key(epoch), [b"a"]).tolist()
                assert [str(day) for day in tombstones.through] == [str(DAY)]

    @pytest.mark.parametrize(
        ("ids", "through"),
        [
            ([], DAY),
            ([b"secret\xff"], DAY),
            ([b"secret" * 300], DAY),
            ([b"secret"], LONG_AFTER.date() + timedelta(days=2)),
        ],
    )
    def test_what_no_event_can_have_is_refused_without_showing_it(
        self, workspace: Workspace, ids: list[bytes], through: date
    ) -> None:
        """No id, an id that is not UTF-8 or too long, and a day after tomorrow are one InputError; nothing is kept."""
        with pytest.raises(InputError) as caught:
            request_erasure(workspace, ids, through=through, now=LONG_AFTER)
        assert "secret" not in f"{caught.value} {caught.value.hint}"
        assert erasure_status(workspace) == []
