"""Real activity: exact counts, unions and the counts behind releases equal what two other methods found."""

from __future__ import annotations

import csv
import resource
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.operations.erase.request import request_erasure
from dpdau_assets.operations.ingest.stage import stage_files
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.operations.pipeline.mau_unions import read_unions
from dpdau_assets.operations.pipeline.trusted_counts import count_trusted
from dpdau_assets.operations.release.counts_snapshot import snapshot_counts
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.command_line import CommandLine
from dpdau_tests.support.naive import naive_counts
from dpdau_tests.support.workspaces import LONG_AFTER, Event, files_holding, new_workspace

pytestmark = pytest.mark.untraced

RETAIL_DAYS = 374
PERL_DAYS = 13_461
CPU_SECONDS = 45
"""Of both commands, interpreters included: seconds, not minutes, and what else the machine does does not count."""


def cpu_seconds() -> float:
    """What the processes started so far, and ended, have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def expected_rows(path: Path) -> list[tuple[str, int, int]]:
    """Day, DAU and 30-day MAU of every calendar day."""
    with path.open(newline="") as lines:
        return [(row["day"], int(row["dau"]), int(row["mau30"])) for row in csv.DictReader(lines)]


def activity_of(path: Path) -> list[Event]:
    """The distinct (user, day) pairs of a file, read by another way than the product's."""
    rows = duckdb.execute("SELECT DISTINCT user_id, ts::DATE FROM read_parquet(?)", [str(path)]).fetchall()
    return [(user, day) for user, day in rows]


@pytest.fixture(scope="module")
def retail(real_data: Path) -> list[tuple[str, int, int]]:
    return expected_rows(real_data / "online_retail.exact.csv")


@pytest.fixture(scope="module", params=["set", "kmv"])
def workspace(request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A year of a shop's customers, ingested."""
    workspace = new_workspace(tmp_path_factory.mktemp("retail"), sketch_impl=request.param)
    stage_files(workspace, [real_data / "online_retail.parquet"])
    return workspace


def span(rows: list[tuple[str, int, int]]) -> DayRange:
    return DayRange(date.fromisoformat(rows[0][0]), date.fromisoformat(rows[-1][0]))


class TestOnlineRetail:
    def test_trusted_counts(self, workspace: Workspace, retail: list[tuple[str, int, int]], real_data: Path) -> None:
        """DAU and MAU of all 374 days equal the published table, WAU a count by sets; empty days included."""
        days = span(retail)
        counts = count_trusted(workspace, days.first, days.last)
        assert len(counts) == RETAIL_DAYS
        assert [(row["day"], row["dau"], row["mau"]) for row in counts] == retail
        assert counts == naive_counts(activity_of(real_data / "online_retail.parquet"), [], days)

    @pytest.mark.one_is_enough
    def test_counts_behind_releases(self, workspace: Workspace, retail: list[tuple[str, int, int]]) -> None:
        """The counts a release is made from are the same numbers, since no window has more than k users."""
        days = span(retail)
        counts = snapshot_counts(workspace, days, ["dau", "mau"])
        found = [(day.isoformat(), counts.below("dau", day), counts.below("mau", day)) for day in days]
        assert found == retail
        assert repr(counts) == "Counts(...)"

    @pytest.mark.one_is_enough
    def test_unions_hold_the_counts(self, workspace: Workspace, retail: list[tuple[str, int, int]]) -> None:
        """mau_unions holds a count per window for `set` and no key, and a complete sketch for `kmv`."""
        days = span(retail)
        bring_up_to_date(workspace, days)
        with lake_session(workspace, days) as session:
            unions = [read_unions(session, day).get(30) for day in days]
        for (_, _, expected), union in zip(retail, unions, strict=True):
            if union is None:
                assert expected == 0
            elif workspace.settings.sketch_impl == "set":
                assert (union.users, union.sketch) == (expected, None)
            else:
                assert union.users is None
                assert union.sketch is None or (union.sketch.complete and union.sketch.estimate() == expected)

    @pytest.mark.one_is_enough
    def test_erased_customers_leave(
        self, workspace: Workspace, retail: list[tuple[str, int, int]], real_data: Path
    ) -> None:
        """After erasing 200 customers the counts are those of the file without them, and no file holds them."""
        days = span(retail)
        activity = activity_of(real_data / "online_retail.parquet")
        through = days.last - timedelta(days=100)
        gone = sorted({user for user, _ in activity})[:200]
        request_erasure(workspace, [user.encode() for user in gone], through=through, now=LONG_AFTER)
        flush_deletes(workspace)
        counts = count_trusted(workspace, days.first, days.last)
        assert counts == naive_counts(activity, [(user, through) for user in gone], days)
        never_back = next(user for user in gone if all(day <= through for name, day in activity if name == user))
        assert files_holding(workspace, never_back, first=days.first, last=days.last) == []


class TestByCommandLine:
    @pytest.mark.parametrize(("name", "total"), [("online_retail", RETAIL_DAYS), ("perl5_commits", PERL_DAYS)])
    @pytest.mark.one_is_enough
    def test_trusted_counts_of_whole_histories(self, name: str, total: int, real_data: Path, tmp_path: Path) -> None:
        """Ingested and counted by two commands, a shop's year and 37 years of authors in 16 scripts, with 476 days
        empty in a row, equal the published tables on every day."""
        rows = expected_rows(real_data / f"{name}.exact.csv")
        dpdau = CommandLine(tmp_path)
        spent = cpu_seconds()
        ingested = dpdau.process("ingest", "--from", real_data / f"{name}.parquet", "--json")
        counted = dpdau.process("trusted-counts", "--start", rows[0][0], "--end", rows[-1][0], "--json")
        assert (ingested.code, counted.code) == (0, 0), ingested.err + counted.err
        assert len(rows) == total
        assert [(row["day"], row["dau"], row["mau"]) for row in counted.document] == rows
        assert cpu_seconds() - spent < CPU_SECONDS
