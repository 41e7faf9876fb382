"""The journal: a chain without a gap that holds the rows of the ledger."""

from __future__ import annotations

import numpy as np

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.journal import verify_journal
from dpdau_assets.storage.scan.byte_search import KeySearch
from dpdau_tests.support.verified_folders import journal_file, key_of
from dpdau_tests.unit.operations.verify.looked_at import Places, places


def looked_at(workspace: Workspace) -> Places:
    """Kind and place of what is found in the journal."""
    search = KeySearch(np.array([key_of(workspace)], np.uint64))
    return places(lambda report: verify_journal(workspace, search, report))


class TestVerifyJournal:
    def test_an_intact_journal_is_clean(self, workspace: Workspace) -> None:
        """Nothing is found where every line is there and says what the ledger says."""
        assert looked_at(workspace) == set()

    def test_a_lost_line_is_a_gap_in_the_chain(self, workspace: Workspace) -> None:
        """A line that is missing between two others is found, as is the end of the journal."""
        path = journal_file(workspace)
        lines = path.read_bytes().splitlines(keepends=True)
        for kept in (lines[:2] + lines[3:], lines[:-1]):
            path.write_bytes(b"".join(kept))
            assert ("journal", "the journal") in looked_at(workspace)

    def test_a_row_that_differs_is_told_by_its_table(self, workspace: Workspace) -> None:
        """A row changed behind the journal's back is found in its table and in no other."""
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("UPDATE erasure_requests SET users = users + 1")
        assert looked_at(workspace) == {("journal", "erasure requests in ledger and journal")}

    def test_a_pseudonym_in_clear_is_found(self, workspace: Workspace) -> None:
        """The journal holds pseudonyms sealed only: one in clear is found even in a line that does not count."""
        with journal_file(workspace).open("ab") as stream:
            stream.write(f'{{"user_key": {key_of(workspace)}'.encode())
        assert "erased" in {kind for kind, _ in looked_at(workspace)}
