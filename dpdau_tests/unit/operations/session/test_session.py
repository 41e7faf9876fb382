"""One hold of the lake lock: what a session knows, and the files it vouches for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DataError
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import new_workspace, stage_activity

NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
FOLDED, STAGED, OPEN = date(2026, 3, 1), date(2026, 3, 9), date(2026, 3, 11)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with one folded day, two staged ones and one erased user."""
    workspace = new_workspace(tmp_path / "data", now=NOW, hash_salt_rotation_days=4000)
    stage_activity(workspace, [("a", FOLDED), ("a", STAGED), ("b", STAGED), ("a", OPEN)])
    fold(workspace, DayRange.single(FOLDED))
    request_erasure(workspace, [b"b"], through=STAGED, now=NOW)
    return workspace


class TestLakeSession:
    def test_it_knows_the_cut(self, workspace: Workspace) -> None:
        """Without days it spans all that is known or staged; the last closed day, requests and batches are told."""
        with lake_session(workspace, None) as session:
            assert session.days == DayRange(FOLDED, OPEN)
            assert {day: len(files) for day, files in session.staged.items()} == {STAGED: 1, OPEN: 1}
            assert (session.last_closed, session.batch_seq, session.erasure_seq) == (date(2026, 3, 10), 1, 1)
            assert session.erased.concerns(STAGED, epoch=session.staged[STAGED][0].epoch)
            assert session.known_days("raw_events", session.days) == [FOLDED]

    def test_it_touches_only_its_days(self, workspace: Workspace) -> None:
        """Staged files outside the days it was asked for are as if they did not exist, and open days are not closed."""
        with lake_session(workspace, DayRange(STAGED, OPEN)) as session:
            assert session.partition("raw_events", FOLDED) is None
            assert session.closed(DayRange(FOLDED, OPEN)) == [STAGED, date(2026, 3, 10)]

    def test_a_file_that_is_not_the_recorded_one_is_refused(self, workspace: Workspace) -> None:
        """`check` and `read` raise DataError for changed bytes, `check` also for a missing file."""
        with lake_session(workspace, None) as session:
            (file,) = session.staged[STAGED]
            path = session.staged_path(file)
            session.check({path: file.digest})
            path.write_bytes(b"changed")
            for attempt in (lambda: session.check({path: file.digest}), lambda: session.read(path, file.digest)):
                with pytest.raises(DataError):
                    attempt()
            path.unlink()
            with pytest.raises(DataError, match="does not exist"):
                session.check({path: file.digest})
