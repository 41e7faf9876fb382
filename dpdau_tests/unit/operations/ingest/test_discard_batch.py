"""Taking back a batch that is not folded yet."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import InputError
from dpdau_assets.operations.ingest.discard_batch import discard_batch
from dpdau_assets.operations.pipeline.raw_events import fold
from dpdau_tests.support.workspaces import key_files, new_workspace, stage_activity

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


class TestDiscardBatch:
    def test_it_leaves_what_others_brought(self, tmp_path: Path) -> None:
        """The batch's files and rows go, its days are counted, and the other batch stays as it was."""
        workspace = new_workspace(tmp_path / "data")
        stage_activity(workspace, [("a", DAY)])
        before = key_files(workspace)
        batch = stage_activity(workspace, [("b", DAY), ("b", NEXT)])
        assert discard_batch(workspace, batch) == 2
        assert key_files(workspace) == before
        with pytest.raises(InputError, match="no such batch"):
            discard_batch(workspace, batch)

    def test_a_folded_batch_stays(self, tmp_path: Path) -> None:
        """Activity that is part of a day cannot be taken out of it again."""
        workspace = new_workspace(tmp_path / "data")
        batch = stage_activity(workspace, [("a", DAY), ("a", NEXT)])
        fold(workspace, DayRange.single(DAY))
        before = key_files(workspace)
        with pytest.raises(InputError, match="folded"):
            discard_batch(workspace, batch)
        assert key_files(workspace) == before
