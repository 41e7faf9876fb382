"""Readiness: each part that fails is named, and nothing else about it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dpdau_assets.operations.monitor.readiness import unready_parts
from dpdau_tests.support.release_folders import add_activity, everybody, open_folder


class TestUnreadyParts:
    def test_a_complete_folder_is_ready(self, tmp_path: Path) -> None:
        """Nothing is named, and looking twice changes nothing."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(3))
        assert unready_parts(workspace) == unready_parts(workspace) == ()

    def test_missing_salts_are_named(self, tmp_path: Path) -> None:
        """Without the secrets no release could be made."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(3))
        shutil.rmtree(workspace.lake.secrets_path.parent)
        assert unready_parts(workspace) == ("salts",)

    def test_a_damaged_ledger_is_named(self, tmp_path: Path) -> None:
        """A ledger that is no database cannot be read."""
        workspace = open_folder(tmp_path)
        workspace.close()
        for path in workspace.lake.ledger_path.parent.glob("ledger.sqlite*"):
            path.write_bytes(b"no database" * 1000)
        assert "ledger" in unready_parts(workspace)

    def test_a_full_disk_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Too little room for a transaction counts as not ready."""
        workspace = open_folder(tmp_path)
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert unready_parts(workspace) == ("disk",)
