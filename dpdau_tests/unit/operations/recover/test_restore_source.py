"""What a restore starts from, and which lines of the journal are missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from dpdau_assets.errors import ConfigurationError, DataError
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.restore_source import (
    NOT_THERE,
    RestoreSource,
    find_gaps,
    is_published_beyond,
    look_at,
)
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.journal.lines import Anchor, Gap, read
from dpdau_assets.storage.lake.key_files import write_table
from dpdau_assets.storage.lake.tables import METRIC_SCHEMA
from dpdau_tests.support.lost_ledgers import destroy_ledger
from dpdau_tests.support.verified_folders import journal_file


def source_of(workspace: Workspace) -> RestoreSource:
    """What there is to restore the folder from."""
    lake = workspace.lake
    return RestoreSource(workspace.settings, lake, lake.ledger_path, ledger_id=workspace.ledger_id)


class TestChoose:
    def test_a_ledger_that_lacks_nothing_is_left_alone(self, workspace: Workspace) -> None:
        """Nothing is to be restored while the ledger knows its journal's last line; the data may be put back."""
        with pytest.raises(ConfigurationError, match="nothing is to be restored"):
            source_of(workspace).choose(None, with_lake=False)
        assert source_of(workspace).choose(None, with_lake=True).path == workspace.lake.ledger_path

    def test_a_lost_ledger_starts_from_its_newest_intact_copy(self, workspace: Workspace) -> None:
        """A copy is chosen with its place in the journal; a damaged one is passed over for the journal alone."""
        copy = backup(workspace).made[0]
        ledger_id, settings, lake = workspace.ledger_id, workspace.settings, workspace.lake
        destroy_ledger(workspace)
        found = RestoreSource(settings, lake, lake.ledger_path, ledger_id=ledger_id)
        base = found.choose(None, with_lake=False)
        assert (base.path, base.anchor) == (copy.path, copy.manifest.anchor)
        copy.path.write_bytes(copy.path.read_bytes()[:-4096])
        alone = found.choose(None, with_lake=False)
        assert (alone.path, alone.anchor) == (None, Anchor())

    def test_without_copy_and_beginning_nothing_is_chosen(self, workspace: Workspace) -> None:
        """A journal whose first line is lost is no source of its own."""
        ledger_id, settings, lake = workspace.ledger_id, workspace.settings, workspace.lake
        destroy_ledger(workspace)
        path = journal_file(workspace)
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
        with pytest.raises(DataError):
            RestoreSource(settings, lake, lake.ledger_path, ledger_id=ledger_id).choose(None, with_lake=False)

    def test_a_copy_of_another_ledger_is_refused(self, workspace: Workspace) -> None:
        """A copy that somebody names must be of the ledger that the files belong to."""
        copy = backup(workspace).made[0]
        settings, lake = workspace.settings, workspace.lake
        destroy_ledger(workspace)
        with pytest.raises(ConfigurationError, match="another ledger"):
            RestoreSource(settings, lake, lake.ledger_path, ledger_id="another").choose(copy.path, with_lake=False)


class TestLookAt:
    def test_it_says_who_the_ledger_is_and_what_it_knows(self, workspace: Workspace) -> None:
        """A sound ledger tells its name and its last line of the journal; no file, and no database, tell nothing."""
        found = look_at(workspace.lake.ledger_path)
        assert (found.is_intact, found.ledger_id) == (True, workspace.ledger_id)
        assert found.anchor.seq == read(workspace.lake.journal_folder).lines[-1].seq
        other = workspace.lake.root / "other.sqlite"
        assert look_at(other) == NOT_THERE
        other.write_bytes(b"no database" * 1000)
        assert look_at(other) == NOT_THERE


class TestFindGaps:
    def test_a_line_that_anything_knew_of_and_nobody_holds_is_a_gap(self, workspace: Workspace) -> None:
        """The end is missing exactly when something knew of a later line than the last that is kept."""
        base = source_of(workspace).choose(None, with_lake=True)
        lines = read(workspace.lake.journal_folder)
        last = lines.lines[-1]
        assert find_gaps(lines, base, known_seq=last.seq) == ()
        assert find_gaps(lines, base, known_seq=last.seq + 1) == (Gap(last.seq, last.at, None),)

    def test_a_gap_right_after_the_copy_begins_when_it_was_made(self, workspace: Workspace) -> None:
        """Of a gap whose first line follows the copy, the copy's time is the time of its last known line."""
        base = replace(source_of(workspace).choose(None, with_lake=True), since="2031-01-01T00:00:00+00:00")
        lines = replace(read(workspace.lake.journal_folder), gaps=(Gap(base.anchor.seq, "", "later"),))
        assert find_gaps(lines, base, known_seq=0) == (Gap(base.anchor.seq, base.since, "later"),)


class TestIsPublishedBeyond:
    def test_a_published_value_that_the_ledger_lacks_shows(self, workspace: Workspace) -> None:
        """An exported row that no release in the ledger made tells of a lost end; no file tells of nothing."""
        path = workspace.lake.published / "metrics.parquet"
        path.parent.mkdir(exist_ok=True)
        with workspace.ledger.read() as connection:
            assert not is_published_beyond(connection, workspace.lake)
            write_table(path, METRIC_SCHEMA.empty_table())
            assert not is_published_beyond(connection, workspace.lake)
            write_table(path, pa.table({"metric": ["dau"], "day": [date(2026, 5, 1)], "revision": [0]}))
            assert is_published_beyond(connection, workspace.lake)
