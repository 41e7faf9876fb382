"""Opening a data folder: what is made, what is found again, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.errors import ConfigurationError, StorageError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import Settings


def opened(folder: Path, *, create: bool = True, synthetic: bool = False, **changes: Any) -> Workspace:
    return open_workspace(Settings(data_dir=folder, **changes), create=create, synthetic=synthetic)


class TestOpening:
    def test_a_new_folder_gets_its_layout(self, tmp_path: Path) -> None:
        """Every folder, the ledger and the salt store exist afterwards; opening again finds the same ledger."""
        first = opened(tmp_path / "data")
        assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
            "inbox",
            "journal",
            "lake",
            "ledgers",
            "published",
            "reports",
            "secrets",
            "staging",
            "tmp",
        ]
        second = opened(tmp_path / "data", create=False)
        assert (first.ledger_id, first.is_synthetic) == (second.ledger_id, False)
        assert first.salts.epoch_key(0) == second.salts.epoch_key(0)

    def test_without_create_a_missing_folder_is_one_clear_error(self, tmp_path: Path) -> None:
        """Looking makes nothing and says which commands do."""
        with pytest.raises(StorageError, match="holds no data yet") as caught:
            opened(tmp_path / "data", create=False)
        assert "dpdau init" in caught.value.hint and "dpdau ingest" in caught.value.hint
        assert not (tmp_path / "data").exists()

    def test_a_folder_that_cannot_be_made_is_one_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """DATA_DIR without write access is one StorageError."""

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "mkdir", refuse)
        with pytest.raises(StorageError, match="cannot create the folder") as caught:
            opened(tmp_path / "data")
        assert "\n" not in caught.value.message

    def test_seeded_noise_needs_a_synthetic_folder(self, tmp_path: Path) -> None:
        """Noise that can be repeated is refused over real data and allowed in a folder made for it."""
        with pytest.raises(ConfigurationError, match="seeded works only"):
            opened(tmp_path / "real", noise_source="seeded")
        assert opened(tmp_path / "toy", noise_source="seeded", synthetic=True).is_synthetic

    def test_a_real_folder_never_becomes_synthetic(self, tmp_path: Path) -> None:
        """Asking for synthetic over a real folder fails."""
        opened(tmp_path / "data")
        with pytest.raises(ConfigurationError, match="created for real data"):
            opened(tmp_path / "data", synthetic=True)

    def test_no_secret_is_in_its_text(self, tmp_path: Path) -> None:
        """A workspace prints its folder and nothing else."""
        workspace = opened(tmp_path / "data", hash_salt_secret="correct horse")
        assert repr(workspace) == f"Workspace('{tmp_path / 'data'}')"
