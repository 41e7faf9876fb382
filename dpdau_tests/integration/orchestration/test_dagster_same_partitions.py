"""One range run through Dagster and the command line make the same files of the same real activity."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.orchestration.instance.range_run import run_range
from dpdau_assets.settings.settings import project_settings
from dpdau_assets.storage.ledger import partitions
from dpdau_tests.support.command_line import CommandLine

pytestmark = pytest.mark.untraced

FIRST, LAST = date(2010, 12, 1), date(2011, 12, 9)
ASSETS = ["raw_events", "erasure_replay", "daily_sketches", "mau_unions"]


def ingested(folder: Path, source: Path, sketch_impl: str) -> CommandLine:
    """A project folder with the shop's activity staged; the secret is given, so that pseudonyms agree."""
    dpdau = CommandLine(
        folder,
        DATA_DIR="data",
        SERIES_START=str(FIRST),
        SERIES_END=str(LAST),
        DAGSTER_HISTORY_DAYS="20000",
        SKETCH_IMPL=sketch_impl,
        HASH_SALT_SECRET="the same for both",
    )
    dpdau.json("ingest", "--from", source)
    return dpdau


def digests(dpdau: CommandLine, days: DayRange) -> dict[tuple[str, date], tuple[str, dict[str, str]]]:
    """The digest of every partition of `days`, and of each of its files."""
    workspace = open_workspace(project_settings(dpdau.folder), create=False)
    with workspace.ledger.read() as connection:
        found = partitions.load(connection, ASSETS, days.first, days.last)
    workspace.close()
    return {name: (one.digest, dict(one.files)) for name, one in found.items()}


def check_same(tmp_path: Path, source: Path, days: DayRange, sketch_impl: str) -> None:
    by_command = ingested(tmp_path / "command", source, sketch_impl)
    by_command.json("rebuild", "--start", str(days.first), "--end", str(days.last))
    by_dagster = ingested(tmp_path / "dagster", source, sketch_impl)
    done = run_range(project_settings(by_dagster.folder), days, home=tmp_path / "home", job_name="rebuild_job")
    assert done.failures == ()
    expected = digests(by_command, days)
    assert len(expected) == len(ASSETS) * len(days)
    assert digests(by_dagster, days) == expected


class TestSamePartitions:
    def test_sixty_days(self, real_data: Path, tmp_path: Path) -> None:
        """60 days built by one Dagster range run and by `dpdau rebuild` have the same digests, file by file."""
        days = DayRange(FIRST, date(2011, 1, 29))
        check_same(tmp_path, real_data / "online_retail.parquet", days, "set")

    @pytest.mark.slow
    @pytest.mark.parametrize("sketch_impl", ["set", "kmv"])
    def test_every_day(self, real_data: Path, tmp_path: Path, sketch_impl: str) -> None:
        """The same for all 374 days."""
        check_same(tmp_path, real_data / "online_retail.parquet", DayRange(FIRST, LAST), sketch_impl)
