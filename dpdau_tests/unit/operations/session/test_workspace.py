"""Opening a data folder, what is frozen at the first ingest, and the clock."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.errors import ConfigurationError, InternalError, StorageError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace, utc_now
from dpdau_assets.settings.settings import Settings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def opened(
    folder: Path, *, create: bool = True, synthetic: bool = False, at: datetime = NOON, **changes: Any
) -> Workspace:
    return open_workspace(Settings(data_dir=folder, **changes), clock=lambda: at, create=create, synthetic=synthetic)


def frozen(folder: Path, **changes: Any) -> None:
    workspace = opened(folder, **changes)
    with workspace.ledger.write() as connection:
        workspace.freeze(connection)
    workspace.close()


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


class TestFrozen:
    @pytest.mark.parametrize(
        ("change", "name"), [({"timezone": "Europe/Berlin"}, "TIMEZONE"), ({"mau_window_days": 28}, "MAU_WINDOW_DAYS")]
    )
    def test_a_changed_setting_is_refused_after_the_first_ingest(
        self, tmp_path: Path, change: dict[str, Any], name: str
    ) -> None:
        """What pseudonyms and days depend on may change until the first ingest, not after it."""
        opened(tmp_path / "data")
        opened(tmp_path / "data", **change)
        frozen(tmp_path / "data")
        with pytest.raises(ConfigurationError, match=name) as caught:
            opened(tmp_path / "data", **change)
        assert f"{name}=" in caught.value.hint
        opened(tmp_path / "data")

    def test_a_process_opened_before_the_first_ingest_is_refused_at_its_own(self, tmp_path: Path) -> None:
        """The check is repeated inside the transaction that records a batch."""
        early = opened(tmp_path / "data", mau_window_days=28)
        frozen(tmp_path / "data")
        with pytest.raises(ConfigurationError, match="MAU_WINDOW_DAYS"), early.ledger.write() as connection:
            early.freeze(connection)

    def test_a_lost_ledger_is_not_replaced(self, tmp_path: Path) -> None:
        """A new ledger over old files would release every day again: it is refused, and none is created."""
        opened(tmp_path).close()
        shutil.move(tmp_path / "ledgers", tmp_path / "elsewhere")
        with pytest.raises(ConfigurationError, match="it is missing"):
            opened(tmp_path)
        assert not (tmp_path / "ledgers" / "ledger.sqlite").exists()
        with pytest.raises(ConfigurationError, match="another one was found"):
            other = tmp_path / "other"
            opened(other).close()
            opened(tmp_path, database_url=f"sqlite:///{other}/ledgers/ledger.sqlite")
        shutil.rmtree(tmp_path / "ledgers")
        shutil.move(tmp_path / "elsewhere", tmp_path / "ledgers")
        assert opened(tmp_path, create=False).ledger_id

    def test_a_lost_salt_store_is_not_replaced(self, tmp_path: Path) -> None:
        """After the first ingest a missing store is an error, and none is made."""
        frozen(tmp_path / "data")
        shutil.rmtree(tmp_path / "data" / "secrets")
        with pytest.raises(ConfigurationError, match="is missing"):
            opened(tmp_path / "data")
        assert not (tmp_path / "data" / "secrets").exists()

    def test_another_salt_store_is_refused(self, tmp_path: Path) -> None:
        """A store of another folder does not fit the pseudonyms here."""
        frozen(tmp_path / "data")
        frozen(tmp_path / "other")
        shutil.copy2(tmp_path / "other/secrets/salts.json", tmp_path / "data/secrets/salts.json")
        with pytest.raises(ConfigurationError, match="is not the salt store"):
            opened(tmp_path / "data")


class TestClock:
    def test_it_never_goes_back(self, tmp_path: Path) -> None:
        """After a recorded time, an earlier clock gives the recorded one, in this and every other process."""
        first = opened(tmp_path / "data", at=NOON)
        with first.ledger.write() as connection:
            assert first.advance_clock(connection) == NOON
        earlier = opened(tmp_path / "data", at=NOON - timedelta(days=3))
        assert earlier.now() == NOON
        with earlier.ledger.write() as connection:
            assert earlier.advance_clock(connection) == NOON
        later = opened(tmp_path / "data", at=NOON + timedelta(seconds=1))
        assert later.now() == NOON + timedelta(seconds=1)
        assert earlier.now() == NOON

    def test_a_rolled_back_transaction_does_not_move_it(self, tmp_path: Path) -> None:
        """Only a committed release moves the recorded time."""
        ahead = opened(tmp_path / "data", at=NOON + timedelta(days=9))
        with pytest.raises(ZeroDivisionError), ahead.ledger.write() as connection:
            ahead.advance_clock(connection)
            raise ZeroDivisionError
        assert opened(tmp_path / "data").now() == NOON

    def test_today_is_taken_in_the_time_zone(self, tmp_path: Path) -> None:
        """The day is TIMEZONE's, not UTC's."""
        late = NOON.replace(hour=23)
        assert opened(tmp_path / "data", at=late, timezone="Asia/Tokyo").today() == date(2026, 3, 2)

    def test_a_clock_without_a_zone_is_our_mistake(self, tmp_path: Path) -> None:
        """A naive time is refused, never taken for UTC."""
        workspace = open_workspace(Settings(data_dir=tmp_path / "data"), clock=lambda: datetime(2026, 3, 1))
        with pytest.raises(InternalError, match="without a zone"):
            workspace.now()

    def test_the_machine_clock_has_a_zone(self) -> None:
        """The default clock is aware."""
        assert utc_now().tzinfo is UTC
