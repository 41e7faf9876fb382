"""`make bench`: from the raw file to released DAU, WAU and MAU by the command line, against the plain query.

Ours is `dpdau ingest` and `dpdau release`, two fresh processes each time, their start included; the plain query's time
runs from opening the file to its last number, without its process start. Both alternate; medians are compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dpdau_assets.errors import DataError, DpdauError
from dpdau_assets.evaluation.benchmarks.erasing import compare_erasing
from dpdau_assets.evaluation.benchmarks.measuring import Measured, measure
from dpdau_assets.evaluation.benchmarks.workload import DAYS, FIRST_DAY, LARGE, SMALL, Workload, parquet_of
from dpdau_assets.settings.settings import child_environment, create_project, project_root

MAX_RATIO = 3.0
MAX_PEAK_BYTES = 2 * 2**30
GIB = 2**30
SANE_DEVIATIONS = 8
"""A released count this many noise deviations away from the true one means a wrong count, not bad luck."""

DAU_STDDEV, MAU_STDDEV = 5.3, 4.6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return 0 when the limits are kept, 1 when they are not."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the workload SMALL instead of LARGE")
    parser.add_argument("--runs", type=int, default=3, help="runs of each side")
    parser.add_argument("--erasure", action="store_true", help="erasing users of a year of activity, instead")
    options = parser.parse_args(arguments)
    workload = SMALL if options.quick else LARGE
    folder = project_root() / "data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)

    try:
        with tempfile.TemporaryDirectory(prefix="home-", dir=folder) as home:
            if options.erasure:
                return compare_erasing(folder, Path(home), is_quick=options.quick, runs=options.runs, tell=_tell)
            parquet = parquet_of(workload, folder, tell=_tell)
            return _compare(workload, parquet, Path(home) / "project", runs=options.runs)
    except DpdauError as error:
        _tell(f"make bench: {error.message}")
        return 1


def _compare(workload: Workload, parquet: Path, home: Path, *, runs: int) -> int:
    """Run both sides alternately, then report."""
    baselines, exact_runs = [], []
    for run in range(1, runs + 1):
        baselines.append(_baseline(parquet))
        truth = json.loads(baselines[-1].output)
        exact_runs.append(_ours(workload, parquet, home, sketch_impl="set", truth=truth))
        _tell(f"run {run}: plain query {truth['seconds']:.2f} s, ours {exact_runs[-1].seconds:.2f} s")
    sketched = _ours(workload, parquet, home, sketch_impl="kmv", truth=None)
    plain = statistics.median(json.loads(run.output)["seconds"] for run in baselines)
    return _report(workload, plain, baselines, exact_runs, sketched)


def _report(
    workload: Workload, plain: float, baselines: list[Measured], exact_runs: list[Measured], sketched: Measured
) -> int:
    """Print the table and compare with the limits."""
    ours = statistics.median(run.seconds for run in exact_runs)
    peaks = [max(run.peak_bytes for run in runs) / GIB for runs in (baselines, exact_runs, [sketched])]
    _tell("")
    _tell(f"{workload.name}: {workload.users:,} users, {DAYS} days; raw file -> released DAU, WAU, MAU (median)")
    _tell(f"  plain DuckDB query, one bit per day per user   {plain:7.2f} s   {peaks[0]:.2f} GiB")
    _tell(f"  dpdau ingest + release, SKETCH_IMPL=set        {ours:7.2f} s   {peaks[1]:.2f} GiB")
    _tell(f"  dpdau ingest + release, SKETCH_IMPL=kmv        {sketched.seconds:7.2f} s   {peaks[2]:.2f} GiB, one run")
    _tell(f"  ratio (set)                                    {ours / plain:7.2f}     limit {MAX_RATIO} at LARGE")
    is_slow = workload is LARGE and ours / plain > MAX_RATIO
    is_fat = max(peaks[1:]) * GIB > MAX_PEAK_BYTES
    if is_slow or is_fat:
        _tell("FAILED: " + " and ".join(["ratio"] * is_slow + ["peak memory"] * is_fat) + " above the limit")
    return 1 if is_slow or is_fat else 0


def _baseline(parquet: Path) -> Measured:
    """The plain query in a process of its own."""
    module = "dpdau_assets.evaluation.benchmarks.baseline"
    command = [sys.executable, "-m", module, str(parquet), str(FIRST_DAY), str(DAYS)]
    return measure(command, environment=child_environment(), folder=project_root())


def _ours(
    workload: Workload, parquet: Path, home: Path, *, sketch_impl: str, truth: dict[str, list[int]] | None
) -> Measured:
    """`dpdau ingest` and `dpdau release` in a new data folder, as a user would give them."""
    shutil.rmtree(home, ignore_errors=True)
    create_project(home, DATA_DIR=".", SERIES_START=str(FIRST_DAY), SKETCH_IMPL=sketch_impl)
    environment = child_environment()
    dpdau = [sys.executable, "-m", "dpdau_assets.cli.main"]
    days = ["--start", str(FIRST_DAY), "--end", str(workload.last_day)]
    ingest = measure([*dpdau, "ingest", "--json", "--from", str(parquet)], environment=environment, folder=home)
    release = measure([*dpdau, "release", *days], environment=environment, folder=home)
    if truth is not None:
        again = measure([*dpdau, "release", "--json", *days], environment=environment, folder=home)  # not timed: stored
        _check(json.loads(again.output), truth)
    _tell(f"  {sketch_impl}: ingest {ingest.seconds:.2f} s, release {release.seconds:.2f} s")
    return Measured(ingest.seconds + release.seconds, max(ingest.peak_bytes, release.peak_bytes), release.output)


def _check(bodies: list[dict[str, object]], truth: dict[str, list[int]]) -> None:
    """Every released DAU and MAU lies as near to the plain query's as its noise explains."""
    for metric, stddev in (("dau", DAU_STDDEV), ("mau", MAU_STDDEV)):
        released = [float(str(body["estimate"])) for body in bodies if body["metric"] == metric]
        if len(released) != DAYS:
            raise DataError(f"{len(released)} {metric} releases instead of {DAYS}")
        far = max(abs(value - true) for value, true in zip(released, truth[metric], strict=True))
        if far > SANE_DEVIATIONS * stddev:
            raise DataError(f"a released {metric} is further from the true count than its noise explains")


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
