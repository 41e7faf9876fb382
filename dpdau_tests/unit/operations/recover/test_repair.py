"""What is brought back without a copy: raw events, the free space of the ledger, an intent that cannot be read."""

from __future__ import annotations

import sqlite3

from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.recover.repair import (
    clean_ledger,
    drop_unreadable_intent,
    give_up_lost,
    repair_raw_events,
)
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.verified_folders import flip, key_of, signed
from dpdau_tests.support.workspaces import LONG_AFTER
from dpdau_tests.unit.operations.recover.damaged_folders import DAYS, MIDDLE, file_of, recorded


class TestRepairRawEvents:
    def test_a_damaged_file_is_taken_from_the_live_users(self, workspace: Workspace) -> None:
        """The recorded bytes are back and the number of files is told; a second time there are none."""
        path = file_of(workspace, "raw_events")
        before = path.read_bytes()
        flip(path)
        with lake_session(workspace, DAYS) as session:
            assert repair_raw_events(session, DAYS) == 1
            assert repair_raw_events(session, DAYS) == 0
        assert path.read_bytes() == before

    def test_live_users_that_are_damaged_as_well_bring_nothing_back(self, workspace: Workspace) -> None:
        """Where neither is the recorded file both stay as they are, for only a copy helps."""
        paths = [file_of(workspace, asset) for asset in ("raw_events", "erasure_replay")]
        for path in paths:
            flip(path)
        damaged = [path.read_bytes() for path in paths]
        with lake_session(workspace, DAYS) as session:
            assert repair_raw_events(session, DAYS) == 0
        assert [path.read_bytes() for path in paths] == damaged


class TestGiveUpLost:
    def test_only_files_that_are_lost_leave_the_ledger(self, workspace: Workspace) -> None:
        """A damaged file of raw events loses its row; every other row and file stays."""
        before = recorded(workspace)
        path = file_of(workspace, "raw_events")
        flip(path)
        with lake_session(workspace, DAYS) as session:
            assert give_up_lost(session, DAYS) == 1
        after = recorded(workspace)
        assert not path.exists()
        assert {day: files for day, files in before.items() if day != MIDDLE} == {
            day: files for day, files in after.items() if day != MIDDLE
        }
        assert len(after.get(MIDDLE, {})) == len(before[MIDDLE]) - 1


class TestDropUnreadableIntent:
    def test_only_one_that_cannot_be_read_goes(self, workspace: Workspace) -> None:
        """Without an intent, nothing is done; one that is torn is removed."""
        assert not drop_unreadable_intent(workspace)
        workspace.lake.intent_path.write_bytes(b"{")
        assert drop_unreadable_intent(workspace)
        assert not workspace.lake.intent_path.exists()


class TestCleanLedger:
    def test_a_pseudonym_in_free_space_goes(self, workspace: Workspace) -> None:
        """A ledger with the pseudonym of an erased user in a free page is written anew, once."""
        request_erasure(workspace, [b"user-3"], through=DAYS.last, now=LONG_AFTER)
        flush_deletes(workspace)
        assert not clean_ledger(workspace)
        with sqlite3.connect(workspace.lake.ledger_path, isolation_level=None) as connection:
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("CREATE TABLE planted (k INTEGER)")
            connection.execute("INSERT INTO planted VALUES (?)", (signed(key_of(workspace, "user-3", DAYS.last)),))
            connection.execute("DROP TABLE planted")
        connection.close()
        assert clean_ledger(workspace)
        assert not clean_ledger(workspace)
