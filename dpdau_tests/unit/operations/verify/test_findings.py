"""The collected findings, and which tombstones a file must be clean of."""

from __future__ import annotations

from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.findings import AppliedErasures, Report, Verification
from dpdau_assets.storage.ledger import erasures
from dpdau_tests.support.verified_folders import DAYS, GONE, key_of
from dpdau_tests.support.workspaces import LONG_AFTER


def pending_request(workspace: Workspace) -> int:
    """The position of a request that is not complete, of user-7."""
    request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER)
    with workspace.ledger.read() as connection:
        return erasures.pending(connection)[0].seq


class TestReport:
    def test_each_line_is_said_once_in_the_order_it_came(self) -> None:
        """Work that is due and what is not covered are told once each, in order, and leave the folder ok."""
        report = Report()
        for line in ("second", "first", "second"):
            report.wait(f"due {line}")
            report.note(f"not covered {line}")
        made = report.finish()
        assert made == Verification((), ("due second", "due first"), ("not covered second", "not covered first"))
        assert made.ok


class TestAppliedErasures:
    def test_a_pending_request_counts_from_the_partitions_that_applied_it(self, workspace: Workspace) -> None:
        """Its user must be gone from a partition of that level, and may be in one of a lower level."""
        seq = pending_request(workspace)
        epoch, key = workspace.salts.calendar.epoch_of(DAYS.last), key_of(workspace, "user-7")
        with workspace.ledger.read() as connection:
            erased = AppliedErasures.read(connection, levels=[seq - 1, seq])
        applied, below = erased.upto(seq).of_epoch(epoch), erased.upto(seq - 1).of_epoch(epoch)
        assert applied is not None and key in applied.keys
        assert below is not None and key not in below.keys and key_of(workspace, GONE) in below.keys

    def test_the_search_is_for_complete_requests_only(self, workspace: Workspace) -> None:
        """Files may hold the pseudonym of somebody whose request is pending, and none of a complete one."""
        seq = pending_request(workspace)
        with workspace.ledger.read() as connection:
            search = AppliedErasures.read(connection, levels=[seq]).search
        assert search.is_in_bytes(key_of(workspace, GONE).to_bytes(8, "little"))
        assert not search.is_in_bytes(key_of(workspace, "user-7").to_bytes(8, "little"))
