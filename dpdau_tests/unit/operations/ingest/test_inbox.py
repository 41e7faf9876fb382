"""What happens to an inbox file whose rows are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.operations.ingest.inbox import put_away
from dpdau_assets.storage.lake.lake import Lake

BATCH = "0123456789abcdef" * 2


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A data folder with an inbox."""
    lake = Lake(tmp_path / "data")
    lake.make_folders()
    return lake


def put_in(folder: Path, name: str = "a.csv") -> Path:
    (path := folder / name).write_text("user,day\n")
    return path


class TestPutAway:
    def test_an_inbox_file_goes(self, lake: Lake) -> None:
        """The file is removed; once more is fine."""
        path = put_in(lake.inbox)
        for _ in range(2):
            put_away(lake, path, batch=BATCH, is_kept=False)
        assert list(lake.inbox.iterdir()) == []

    def test_a_kept_file_moves_and_replaces_none(self, lake: Lake) -> None:
        """With KEEP_SOURCES it moves to inbox/done; the second of a name gets the batch's name in front."""
        for _ in range(2):
            put_away(lake, put_in(lake.inbox), batch=BATCH, is_kept=True)
        assert sorted(path.name for path in (lake.inbox / "done").iterdir()) == ["01234567-a.csv", "a.csv"]

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_files_elsewhere_are_left_alone(self, lake: Lake, tmp_path: Path, is_kept: bool) -> None:
        """Neither a file outside the inbox nor one in inbox/done is touched."""
        (done := lake.inbox / "done").mkdir()
        for path in (put_in(tmp_path), put_in(done)):
            put_away(lake, path, batch=BATCH, is_kept=is_kept)
            assert path.exists()
