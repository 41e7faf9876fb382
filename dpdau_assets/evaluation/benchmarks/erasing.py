"""`make bench ERASURE=1`: erasing users of a year of activity, against making everything of that year again.

Ours is `dpdau erase --wait`: when it returns, no file holds the users and every count is right. The other side is what
an operator would do otherwise: `dpdau rebuild` and `dpdau release` over the year, from the day partitions to released
values. Each is measured on a copy of one prepared folder, process start included, after the copy has reached the disk;
the sides alternate and medians are compared. Untimed, the first run compares what an erasure left with a rebuild of it,
byte for byte, and its counts with a plain query.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dpdau_assets.errors import DataError
from dpdau_assets.evaluation.benchmarks.measuring import Measured, measure
from dpdau_assets.evaluation.benchmarks.workload import YEAR, YEAR_SMALL, Workload, ids_of, parquet_of
from dpdau_assets.settings.settings import child_environment, create_project

GIB = 2**30
LIMITS = {1: 0.1, 1_000: 0.5, 100_000: 1.2}
"""Users of an erasure to the most that it may take of the time of the whole; at YEAR."""

Tell = Callable[[str], None]


@dataclass
class _Times:
    """What was measured, run by run."""

    rebuilds: list[Measured] = field(default_factory=list)
    releases: list[Measured] = field(default_factory=list)
    erasures: dict[int, list[Measured]] = field(default_factory=dict)


def compare_erasing(folder: Path, home: Path, *, is_quick: bool, runs: int, tell: Tell) -> int:
    """Run both sides alternately and report; 0 when the limits are kept, 1 when they are not.

    Args:
        folder: Where the workload's source is kept.
        home: A folder of ours, emptied by the caller.
        is_quick: A small population, whose ratios mean little and have no limit.
        runs: Runs of each side.
        tell: Prints a line.

    Raises:
        DataError: An erasure left other bytes than a rebuild, or wrong counts.
        InternalError: A command failed.
    """
    workload = YEAR_SMALL if is_quick else YEAR
    bench = ErasingBench(workload, parquet_of(workload, folder, tell=tell), home)
    tell(f"preparing a folder with {workload.name}")
    bench.prepare()
    times = _Times(erasures={users: [] for users in LIMITS if users < workload.users})
    for run in range(1, runs + 1):
        rebuild, release = bench.make_again()
        times.rebuilds.append(rebuild)
        times.releases.append(release)
        for users, measured in times.erasures.items():
            measured.append(bench.erase(users, is_checked=run == 1))
        done = "  ".join(f"{users:,}: {measured[-1].seconds:.2f} s" for users, measured in times.erasures.items())
        tell(f"run {run}: rebuild {rebuild.seconds:.2f} s + release {release.seconds:.2f} s; erased {done}")
    return _report(workload, times, tell=tell)


def _report(workload: Workload, times: _Times, *, tell: Tell) -> int:
    """Print the table and compare with the limits."""
    rebuild, release = _median(times.rebuilds), _median(times.releases)
    whole = statistics.median(
        one.seconds + other.seconds for one, other in zip(times.rebuilds, times.releases, strict=True)
    )
    tell("")
    tell(f"{workload.name}: {workload.users:,} users, {workload.days} days, SKETCH_IMPL=set (median of each)")
    tell(f"  everything made again from day partitions  {whole:7.2f} s   {_peak(times.rebuilds + times.releases)} GiB")
    tell(f"    of that rebuild {rebuild:.2f} s, release {release:.2f} s")
    slow = []
    for users, measured in times.erasures.items():
        ratio, of_rebuild = _median(measured) / whole, _median(measured) / rebuild
        tell(
            f"  dpdau erase --wait, {users:>7,} users         {_median(measured):7.2f} s   {_peak(measured)} GiB   "
            f"ratio {ratio:.3f}   limit {LIMITS[users]:g} at YEAR   ({of_rebuild:.2f} of the rebuild alone)"
        )
        if workload is YEAR and ratio > LIMITS[users]:
            slow.append(f"{users:,}")
    if slow:
        tell(f"FAILED: erasing {', '.join(slow)} users is above the limit")
    return 1 if slow else 0


def _median(measured: Sequence[Measured]) -> float:
    return statistics.median(one.seconds for one in measured)


def _peak(measured: Sequence[Measured]) -> str:
    return f"{max(one.peak_bytes for one in measured) / GIB:.2f}"


class ErasingBench:
    """One prepared folder and what is done to copies of it."""

    def __init__(self, workload: Workload, parquet: Path, home: Path) -> None:
        self._workload = workload
        self._parquet = parquet
        self._prepared = home / "prepared"
        self._copy = home / "copy"
        self._lists = home / "lists"
        self._days = ["--start", str(workload.first_day), "--end", str(workload.last_day)]

    def prepare(self) -> None:
        """Ingest and build the year once, and write the lists of users to erase: spread evenly over all."""
        create_project(self._prepared, DATA_DIR="data", SERIES_START=str(self._workload.first_day), SKETCH_IMPL="set")
        self.run_dpdau(self._prepared, "ingest", "--json", "--from", str(self._parquet))
        self.run_dpdau(self._prepared, "rebuild", *self._days)
        self._lists.mkdir(parents=True)
        ids = ids_of(self._workload).to_pylist()
        for users in LIMITS:
            if users < len(ids):
                chosen = ids[len(ids) // (2 * users) :: len(ids) // users][:users]
                self._list_of(users).write_text("".join(f"{one}\n" for one in chosen), encoding="ascii")

    def make_again(self) -> tuple[Measured, Measured]:
        """Everything made again: the rebuild and the release of the year."""
        self._copy_prepared()
        rebuild = self.run_dpdau(self._copy, "rebuild", *self._days)
        return rebuild, self.run_dpdau(self._copy, "release", *self._days)

    def erase(self, users: int, *, is_checked: bool) -> Measured:
        """The erasure of so many users, replayed everywhere."""
        self._copy_prepared()
        listed = ["--from", str(self._list_of(users)), "--through", str(self._workload.last_day)]
        measured = self.run_dpdau(self._copy, "erase", *listed, "--wait")
        if is_checked:
            left = self._digests()
            self._check_counts(users)
            self.run_dpdau(self._copy, "rebuild", *self._days)
            if self._digests() != left:
                raise DataError(f"erasing {users} users left other bytes than a rebuild makes")
        return measured

    def _list_of(self, users: int) -> Path:
        return self._lists / f"{users}.txt"

    def _copy_prepared(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self._prepared), str(self._copy)], check=True)  # keeps hard links
        os.sync()

    def run_dpdau(self, folder: Path, *arguments: str) -> Measured:
        command = [sys.executable, "-m", "dpdau_assets.cli.main", *arguments]
        return measure(command, environment=child_environment(), folder=folder)

    def _digests(self) -> list[tuple[str, str, str]]:
        """The digest of every partition."""
        connection = sqlite3.connect(self._copy / "data" / "ledgers" / "ledger.sqlite")
        try:
            return connection.execute("SELECT asset, day, digest FROM partitions ORDER BY asset, day").fetchall()
        finally:
            connection.close()

    def _check_counts(self, users: int) -> None:
        """The users of every day are those of the source without the erased."""
        import duckdb

        counted = json.loads(self.run_dpdau(self._copy, "trusted-counts", *self._days, "--json").output)
        connection = duckdb.connect()
        expected = connection.execute(
            "SELECT day::VARCHAR, count(DISTINCT user_id) FROM read_parquet($source) "
            "WHERE user_id NOT IN (SELECT column0 FROM read_csv($erased, header = false)) GROUP BY day ORDER BY day",
            {"source": str(self._parquet), "erased": str(self._list_of(users))},
        ).fetchall()
        if [(row["day"], row["dau"]) for row in counted] != expected:
            raise DataError(f"after erasing {users} users a day does not have the users of the source without them")
