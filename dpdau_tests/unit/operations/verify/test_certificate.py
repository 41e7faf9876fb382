"""Certificates of erasure: given only over a folder that is clean, and naming nobody."""

from __future__ import annotations

import pytest

from dpdau_assets.errors import DataError, InputError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.certificate import certify
from dpdau_assets.operations.verify.findings import Verification
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.ledger import erasures
from dpdau_tests.support.verified_folders import DAYS, FIRST
from dpdau_tests.support.workspaces import LONG_AFTER


class TestCertificate:
    def test_it_is_dated_contiguous_and_names_nobody(self, workspace: Workspace) -> None:
        """A certificate holds the date, one range of days and the request, and no identifier and no count."""
        request = request_erasure(workspace, [b"user-7", b"user-9"], through=DAYS.last, now=LONG_AFTER).request
        flush_deletes(workspace)
        given = certify(workspace, request)
        written = (workspace.lake.root / "reports" / "certificates" / f"{request}.md").read_text(encoding="utf-8")
        assert written == f"{given.text()}\n"
        assert "2031-01-01T12:00:00" in written
        assert (given.first_day, given.last_day) == ("1970-01-01", str(DAYS.last)) or given.first_day <= str(FIRST)
        assert "user-" not in written
        document = given.to_json()
        assert not [value for value in document.values() if isinstance(value, int)]
        assert given.last_backup_expires_at is None
        assert verify(workspace) == Verification(())

    def test_it_is_refused_until_the_request_is_complete(self, workspace: Workspace) -> None:
        """Neither an unknown nor a pending request is certified."""
        with pytest.raises(InputError, match="no erasure request"):
            certify(workspace, "f" * 32)
        request = request_erasure(workspace, [b"user-7"], through=DAYS.last, now=LONG_AFTER).request
        with pytest.raises(DataError, match="not complete") as refused:
            certify(workspace, request)
        assert "flush-deletes" in refused.value.hint

    def test_it_is_refused_when_anything_is_found(self, workspace: Workspace) -> None:
        """One finding anywhere, and nothing is certified or written."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        (workspace.lake.root / "lake" / "notes.txt").write_text("x")
        with pytest.raises(DataError, match="no certificate"):
            certify(workspace, request)
        assert not (workspace.lake.root / "reports" / "certificates").exists()

    def test_it_is_refused_while_files_are_being_written(self, workspace: Workspace) -> None:
        """What another operation has in waiting was not searched, so nothing is certified meanwhile."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        with workspace.lake.temporary_folder(), pytest.raises(DataError, match="is writing files"):
            certify(workspace, request)

    def test_it_says_that_kept_sources_are_not_covered(self, workspace: Workspace) -> None:
        """With sources in inbox/done the certificate says that they are outside of it."""
        with workspace.ledger.read() as connection:
            request = erasures.history(connection)[0].request
        done = workspace.lake.inbox / "done"
        done.mkdir()
        (done / "source.csv").write_text("user_id,day\n")
        assert "inbox/done" in certify(workspace, request).text()
