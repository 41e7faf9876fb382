"""`make demo`, small: in a folder of its own, twice harmless, and a day longer tomorrow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dpdau_assets.cli.launch import demo
from dpdau_assets.errors import StorageError
from dpdau_assets.settings.settings import Settings, create_project

pytestmark = pytest.mark.untraced

TODAY = datetime.now(UTC).date()
YESTERDAY = str(TODAY - timedelta(days=1))


class Clock(datetime):
    """The machine's clock, standing at noon of the day before today until it is moved."""

    today_is = TODAY - timedelta(days=1)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime(cls.today_is.year, cls.today_is.month, cls.today_is.day, 12, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with real settings of its own, at a fixed time, and a demo of 200 users over 16 days."""
    for name in (*Settings.model_fields, "dagster_home"):
        monkeypatch.delenv(name.upper(), raising=False)
    create_project(tmp_path, DATA_DIR="real", DATABASE_URL="sqlite:////nowhere/else.sqlite")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "USERS", 200)
    monkeypatch.setattr(demo, "DAYS", 16)
    monkeypatch.setattr(demo, "datetime", Clock)
    return tmp_path


def table_of(text: str) -> dict[str, str]:
    """The printed rows by day."""
    return {line[:10]: line for line in text.splitlines() if re.match(r"\d{4}-\d{2}-\d{2} ", line)}


def released_in(home: Path) -> tuple[int, int]:
    """The runs of a Dagster home, and the days of its mau_release."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.get_runs_count(), len(instance.get_materialized_partitions(dg.AssetKey("mau_release")))


class TestDemo:
    def test_twice_is_harmless_and_tomorrow_adds_a_day(
        self, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One Dagster run fills the demo's home; a second run changes and charges nothing; tomorrow's adds a day."""
        demo.run()
        first = capsys.readouterr().out
        assert released_in(project / "data" / "demo" / "dagster") == (1, demo.DAYS)
        demo.run()
        second = capsys.readouterr().out
        assert len(table_of(first)) == demo.SHOWN_DAYS
        assert table_of(second) == table_of(first)
        assert re.findall("epsilon .* left", second) == re.findall("epsilon .* left", first)
        assert "nothing charged" in second
        assert released_in(project / "data" / "demo" / "dagster") == (1, demo.DAYS)
        assert (project / "data" / "demo" / "published" / "report.html").is_file()
        assert not (project / "real").exists()

        monkeypatch.setattr(Clock, "today_is", TODAY)
        demo.run()
        third = table_of(capsys.readouterr().out)
        assert YESTERDAY in third
        assert {day: line for day, line in third.items() if day != YESTERDAY}.items() <= table_of(first).items()

    def test_a_clock_that_went_back_is_refused(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A demo folder from the future is refused with what to do."""
        create_project(project / "data" / "demo", DATA_DIR=".", SERIES_START=str(TODAY + timedelta(days=3)))
        with pytest.raises(StorageError) as caught:
            demo.run()
        assert "make clean" in caught.value.hint
