"""What `make demo` runs: 90 days of synthetic activity through the whole graph, in a project folder of its own.

`data/demo` holds its own settings, ledger, lake and Dagster home, so that nothing mixes with real data. The first run
fixes the first day; every later run adds the days since then and changes no value. Working inside the folder
(`cd data/demo`) makes `dpdau` and Dagster use it.
"""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from dpdau_assets.cli.commands.generate import write_stream
from dpdau_assets.cli.commands.release import release_table
from dpdau_assets.cli.main import guarded, leave
from dpdau_assets.cli.output import say
from dpdau_assets.core.quantities import METRICS, DayRange, period_of
from dpdau_assets.errors import OperatorError, StorageError

if TYPE_CHECKING:
    from dpdau_assets.operations.session.workspace import Workspace
    from dpdau_assets.settings.settings import Settings

USERS = 20_000
DAYS = 90
SHOWN_DAYS = 14
FOLDER = Path("data") / "demo"


def main() -> None:
    """Run the demo and end the process as the command line does."""
    leave(guarded(run, as_json=False))


def run() -> None:
    """Generate, ingest, build, release, show."""
    from dpdau_assets.settings.settings import project_root

    started_at = time.monotonic()
    folder = project_root() / FOLDER
    last = datetime.now(UTC).date() - timedelta(days=1)
    settings = demo_settings(folder, last=last)
    check_series(settings, last)
    days = DayRange(settings.series_start or last, last)
    say(f"1  {USERS:,} synthetic users, {len(days)} days from {days.first} to {days.last}")
    files = [_stream_of(day, folder, seed=settings.default_seed) for day in days]
    workspace = open_demo(settings)
    say(f"2  {ingest(workspace, files)}")
    say(f"3  {build(workspace, days, home=folder / 'dagster')}")
    say()
    show(workspace, days)
    say()
    _where_next(workspace, seconds=time.monotonic() - started_at)


def demo_settings(folder: Path, *, last: date) -> Settings:
    """The demo's settings, fixed in its folder at the first run."""
    from dpdau_assets.settings.settings import create_project, project_settings

    first = last - timedelta(days=DAYS - 1)
    create_project(folder, DATA_DIR=".", SERIES_START=str(first), DAY_CLOSE_DELAY_HOURS="0", EXPECTED_USERS=str(USERS))
    return project_settings(folder)


def check_series(settings: Settings, last: date) -> None:
    """Refuse a folder whose first day lies ahead: the clock went back since it was made."""
    if settings.series_start is None or settings.series_start > last:
        raise StorageError(
            "data/demo begins after yesterday", hint="`make clean` removes it; then run `make demo` again"
        )


def _stream_of(day: date, folder: Path, *, seed: int) -> Path:
    """The day's file of events, written when it is missing."""
    from dpdau_assets.evaluation.streams.synthetic import SyntheticStream
    from dpdau_assets.storage.lake.layout import Layout

    path = Layout(folder).streams / f"{day}.jsonl"
    if not path.is_file():
        write_stream(path, [SyntheticStream(seed=seed, users=USERS).lines(day)])
    return path


def open_demo(settings: Settings) -> Workspace:
    """The demo's data folder, marked synthetic, with its catalogue of views."""
    from dpdau_assets.operations.session.open_workspace import open_workspace

    workspace = open_workspace(settings, synthetic=True)
    workspace.lake.write_catalogue()
    return workspace


def ingest(workspace: Workspace, files: list[Path]) -> str:
    """Stage the files that are new; what was done, in words."""
    from dpdau_assets.operations.ingest.stage import stage_files

    report = stage_files(workspace, files).to_json()
    known = report["duplicates_of_earlier_batches"]
    if known == len(files):
        return "nothing new to ingest"
    return f"ingested {report['accepted']:,} events, {len(files) - known} new files"


def build(workspace: Workspace, days: DayRange, *, home: Path) -> str:
    """Bring everything up to date in one Dagster run, if anything is behind; what was done, in words."""
    from dpdau_assets.operations.monitor.due_work import due_releases, pending_erasures, staged_days

    is_current = (
        not (due_releases(workspace, days).days or pending_erasures(workspace) or staged_days(workspace))
        and (home / ".initialised").exists()
    )
    if is_current:
        return "every day is built and released: nothing to run, nothing charged"
    from dpdau_assets.orchestration.instance.range_run import run_range

    started_at = time.monotonic()
    outcome = run_range(workspace.settings, days, home=home)
    if outcome.failures:
        raise OperatorError(f"the Dagster run failed at {outcome.failures[0]}", hint="`make ui DEMO=1` shows the run")
    return f"one Dagster run over {len(days)} days of the asset graph: {time.monotonic() - started_at:.0f} s"


def show(workspace: Workspace, days: DayRange) -> None:
    """Print the last fortnight as released, and the month's budget."""
    from dpdau_assets.operations.budget.snapshot import report_budget
    from dpdau_assets.operations.release.publish_release import publish_releases

    first = max(days.first, days.last - timedelta(days=SHOWN_DAYS - 1))
    published = publish_releases(workspace, METRICS, DayRange(first, days.last))
    say("Released values with 95 % intervals (each value is drawn once and final):")
    say(release_table(published.values))
    say()
    period = period_of(days.last)
    for metric in METRICS:
        budget = report_budget(workspace, metric, period)
        say(
            f"{metric.upper()} in {period}: epsilon {budget.epsilon_spent:.3f} spent, "
            f"{budget.epsilon_remaining:.3f} of {budget.epsilon_cap:g} left, "
            f"{budget.releases_remaining} more releases fit"
        )


def _where_next(workspace: Workspace, *, seconds: float) -> None:
    """Write the report and say where to look."""
    from dpdau_assets.operations.exports.export_metrics import export_metrics
    from dpdau_assets.operations.exports.report import write_report

    export_metrics(workspace)
    say(f"Done in {seconds:.0f} s. Look next at")
    say(f"  {write_report(workspace)}")
    say("  make ui DEMO=1            the asset graph, its runs and plots, at http://127.0.0.1:3000")
    say(f"  cd {FOLDER}              there, `dpdau status`, `dpdau dau`, `dpdau budget dau` speak of the demo")


if __name__ == "__main__":
    main()
