"""A data folder made by an earlier version opens as before.

`dpdau_tests/data/older_folder.tar.gz` is a project folder that version 0.1.0 made on 2025-05-17, before its files moved
into rooms: synthetic activity of sixty users, several salt epochs of a secret made for this test only, twelve days
released, one user erased, another one's erasure asked for, days staged and not folded, copies of ledger and lake, and a
Dagster home.
"""

from __future__ import annotations

import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dpdau_tests import REPOSITORY
from dpdau_tests.support.command_line import CommandLine, write_lines

ARCHIVE = REPOSITORY / "dpdau_tests" / "data" / "older_folder.tar.gz"
MONTH, FIRST, LAST = "2025-05", "2025-05-01", "2025-05-12"
ESTIMATES = {
    "dau": (35, 29, 21.5, 29.5, 34, 21.5, 37.5, 39, 25, 32.5, 16, 23),
    "wau": (27, 38.5, 47.5, 45.5, 59.5, 63.5, 71, 69.5, 53, 58, 55, 52.5),
    "mau": (25.5, 36.5, 53, 56.5, 52.5, 55.5, 62.5, 56.5, 64, 60, 61.5, 62),
}
"""What was published then, by day."""
COUNTS = (26, 24, 16, 23, 23, 21, 27, 31, 26, 31, 22, 22)
"""The exact daily users then; user-7 is gone from them, and user-9 through 2025-05-10."""
COUNTS_AFTER = (26, 23, 16, 23, 23, 20, 27, 31, 25, 31, 22, 21)
"""The same once user-8 is erased too."""


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    """The project folder as it was left, unpacked."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="tar")
    return CommandLine(tmp_path / "older-folder")


class TestAnOlderFolder:
    def test_it_shows_what_it_showed(self, dpdau: CommandLine) -> None:
        """Status, budget, exact counts and every stored value are what the older version said; nothing is charged."""
        status = dpdau.json("status")
        assert status["last_event_day"] == "2025-05-17"
        assert status["released_day"] == dict.fromkeys(("dau", "wau", "mau"), LAST)
        assert status["pending_erasures"]["requests"] == 1
        assert status["pending_folds"]["closed_days"] == 5
        budget = {metric: dpdau.json("budget", metric, "--month", MONTH) for metric in ESTIMATES}
        assert {metric: one["epsilon_spent"] for metric, one in budget.items()} == pytest.approx(
            {"dau": 1.9584000487859528, "wau": 1.9584000487859528, "mau": 2.2772314838992855}, rel=1e-9
        )
        assert {one["release_count"] for one in budget.values()} == {12}
        shown = dpdau.json("release", "--start", FIRST, "--end", LAST)
        for metric, expected in ESTIMATES.items():
            assert [one["estimate"] for one in shown if one["metric"] == metric] == list(expected)
        for metric, one in budget.items():
            again = dpdau.json("budget", metric, "--month", MONTH)
            assert (again["epsilon_spent"], again["release_count"]) == (one["epsilon_spent"], 12)
        counts = dpdau.json("trusted-counts", "--start", FIRST, "--end", LAST)
        assert [one["dau"] for one in counts] == list(COUNTS)

    def test_its_exports_are_written_the_same_again(self, dpdau: CommandLine) -> None:
        """The table of released values has the same bytes as the one that the older version left."""
        table = dpdau.data / "published" / "metrics.csv"
        before = table.read_bytes()
        table.unlink()
        dpdau.json("export")
        assert table.read_bytes() == before

    def test_it_verifies_and_its_secrets_stay_private(self, dpdau: CommandLine) -> None:
        """No finding, the copies and the journal included; the files of secrets are their owner's alone."""
        answer = dpdau.json("verify")
        assert answer["ok"]
        assert answer["findings"] == []
        secrets = dpdau.data / "secrets"
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
        assert stat.S_IMODE((secrets / "salts.json").stat().st_mode) == 0o600

    def test_work_goes_on_in_it(self, dpdau: CommandLine, tmp_path: Path) -> None:
        """The pending erasure is applied, new activity is read under the same keys, further days are released."""
        dpdau.json("apply-retention", "--today", datetime.now(UTC).date())
        assert dpdau.json("ingest", _late(tmp_path))["accepted"] == 2
        dpdau.json("erase", "user-8", "--through", "2025-05-31", "--wait")
        assert dpdau.json("erasures", "--pending") == []
        released = dpdau.json("release", "--start", "2025-05-13", "--end", "2025-05-18")
        assert [one["day"] for one in released if one["metric"] == "dau"] == [f"2025-05-{day}" for day in range(13, 19)]
        assert dpdau.json("budget", "dau", "--month", MONTH)["release_count"] == 18
        counts = {
            one["day"]: one["dau"] for one in dpdau.json("trusted-counts", "--start", FIRST, "--end", "2025-05-18")
        }
        assert counts["2025-05-18"] == 1
        assert [counts[f"2025-05-{day:02d}"] for day in range(1, 13)] == list(COUNTS_AFTER)
        assert dpdau.json("verify")["ok"]
        dpdau.json("backup")

    def test_a_lost_ledger_comes_back_from_its_copy(self, dpdau: CommandLine) -> None:
        """The copy and the journal that the older version wrote give every charge and value again."""
        for path in (dpdau.data / "ledgers").glob("ledger.sqlite*"):
            path.unlink()
        assert dpdau("status").code != 0
        dpdau.json("restore")
        shown = dpdau.json("release", "--start", FIRST, "--end", LAST, "--metric", "dau")
        assert [one["estimate"] for one in shown] == list(ESTIMATES["dau"])
        assert dpdau.json("verify")["ok"]

    def test_its_dagster_home_opens(self, dpdau: CommandLine) -> None:
        """The instance class that its dagster.yaml names loads, and finds the events written then."""
        home = dpdau.data / "dagster"
        assert "module: dpdau_assets.orchestration.event_log\n  class: HomeInstance\n" in (
            home / "dagster.yaml"
        ).read_text(encoding="utf-8")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert type(instance).__name__ == "HomeInstance"
            assert instance.get_materialized_partitions(dg.AssetKey("raw_events")) == {FIRST}


def _late(folder: Path) -> Path:
    """A file with one known and one erased user on a later day."""
    return write_lines(folder / "late.jsonl", [("user-1", "2025-05-18"), ("user-8", "2025-05-18")])
