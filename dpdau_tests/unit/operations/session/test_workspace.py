"""An open data folder: what is frozen at the first ingest, the floor of the series, and the clock."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dpdau_assets.errors import ConfigurationError, InternalError
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace, utc_now
from dpdau_assets.settings.settings import Settings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def opened(folder: Path, *, create: bool = True, at: datetime = NOON, **changes: Any) -> Workspace:
    return open_workspace(Settings(data_dir=folder, **changes), clock=lambda: at, create=create)


def frozen(folder: Path, **changes: Any) -> None:
    workspace = opened(folder, **changes)
    with workspace.ledger.write() as connection:
        workspace.freeze(connection)
    workspace.close()


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


class TestSeriesFloor:
    def test_it_follows_from_the_first_series_start_alone(self, tmp_path: Path) -> None:
        """A year and a window before the first SERIES_START; none without one, and a later setting moves nothing."""
        assert opened(tmp_path / "data").series_floor() is None
        first = opened(tmp_path / "data", series_start=date(2026, 2, 1))
        assert first.series_floor() == date(2026, 2, 1) - timedelta(days=29 + 366)
        assert opened(tmp_path / "data", series_start=date(2026, 1, 1)).series_floor() == first.series_floor()


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
