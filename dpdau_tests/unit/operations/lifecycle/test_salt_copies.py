"""Copies of the salt store: what is told of it, and which copy may come back."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError, InputError
from dpdau_assets.operations.lifecycle.salt_copies import describe_salts, export_salts, import_salts
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import new_workspace, stage_activity

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
PASSPHRASE = "correct horse"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with one event, so that its pseudonyms depend on its salts."""
    workspace = new_workspace(tmp_path / "data", now=NOW)
    stage_activity(workspace, [("a", NOW.date())])
    return workspace


class TestDescribeSalts:
    def test_it_tells_the_epoch_of_today_and_no_secret(self, workspace: Workspace) -> None:
        """Fingerprint, calendar and rotations are told; no key of an epoch is."""
        told = describe_salts(workspace)
        epoch = workspace.salts.calendar.epoch_of(NOW.date())
        assert (told["epoch"], told["fingerprint"], told["rotations"]) == (epoch, workspace.salts.fingerprint(), [])
        assert date.fromisoformat(told["epoch_first_day"]) <= NOW.date() <= date.fromisoformat(told["epoch_last_day"])
        assert workspace.salts.epoch_key(epoch).hex() not in str(told)


class TestCopies:
    def test_an_export_brings_a_lost_store_back(self, workspace: Workspace, tmp_path: Path) -> None:
        """The imported store keys as the lost one did; once it is there, another import changes nothing."""
        fingerprint = export_salts(workspace, tmp_path / "copy", PASSPHRASE)
        content = workspace.lake.secrets_path.read_bytes()
        workspace.lake.secrets_path.unlink()
        for is_unchanged in (False, True):
            done = import_salts(workspace.settings, tmp_path / "copy", PASSPHRASE)
            assert (done.fingerprint, done.is_unchanged) == (fingerprint, is_unchanged)
        assert workspace.lake.secrets_path.read_bytes() == content

    def test_the_export_of_another_folder_is_refused(self, workspace: Workspace, tmp_path: Path) -> None:
        """A store that the stored pseudonyms were not made with does not come in."""
        other = new_workspace(tmp_path / "other", now=NOW, hash_salt_secret="another secret of the tests")
        export_salts(other, tmp_path / "copy", PASSPHRASE)
        with pytest.raises(ConfigurationError, match="is not of the salt store"):
            import_salts(workspace.settings, tmp_path / "copy", PASSPHRASE)

    def test_a_wrong_passphrase_and_a_short_one_are_refused(self, workspace: Workspace, tmp_path: Path) -> None:
        """Neither opens nor makes an export."""
        with pytest.raises(InputError, match="fewer than 8"):
            export_salts(workspace, tmp_path / "copy", "short")
        export_salts(workspace, tmp_path / "copy", PASSPHRASE)
        with pytest.raises(InputError):
            import_salts(workspace.settings, tmp_path / "copy", "wrong horse")
