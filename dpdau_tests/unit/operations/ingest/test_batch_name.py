"""The name of a batch: what makes two sources the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.core.activity import ColumnMapping
from dpdau_assets.engines.sources.source import open_source
from dpdau_assets.errors import InputError
from dpdau_assets.operations.ingest.batch_name import FileState, batch_name

CONTENT = "user_id,ts,shop\na,2026-01-01,b\n"


def name_of(
    path: Path, *, content: str = CONTENT, user: str | None = None, key: bytes = b"key", timezone: str = "UTC"
) -> str:
    path.write_text(content)
    return batch_name(open_source(path, ColumnMapping(user=user)), key=key, timezone=timezone)


class TestBatchName:
    def test_the_same_content_has_one_name_wherever_it_lies(self, tmp_path: Path) -> None:
        """The name is 32 hex characters and does not depend on the file's name."""
        name = name_of(tmp_path / "a.csv")
        assert len(name) == 32
        assert int(name, 16) >= 0
        assert name_of(tmp_path / "b.csv") == name

    def test_anything_that_changes_what_is_staged_changes_it(self, tmp_path: Path) -> None:
        """Another content, column, time zone or key gives another name."""
        path = tmp_path / "a.csv"
        names = {
            name_of(path),
            name_of(path, content=CONTENT.replace("b\n", "c\n")),
            name_of(path, user="shop"),
            name_of(path, timezone="Asia/Tokyo"),
            name_of(path, key=b"another"),
        }
        assert len(names) == 5


class TestFileState:
    def test_it_tells_a_file_that_grew(self, tmp_path: Path) -> None:
        """The state is the same until the file changes."""
        path = tmp_path / "a.csv"
        path.write_text(CONTENT)
        before = FileState.of(path)
        assert FileState.of(path) == before
        path.write_text(CONTENT * 2)
        assert FileState.of(path) != before

    def test_a_file_that_is_gone_is_called_by_its_label(self, tmp_path: Path) -> None:
        """The message names the label, not the file: a name may hold an id."""
        with pytest.raises(InputError, match="inbox file 3 went away") as caught:
            FileState.of(tmp_path / "ann.csv", "inbox file 3")
        assert "ann" not in f"{caught.value} {caught.value.hint}"
