"""What `make backfill START= END=` runs: print the cost, then build and release the days in one Dagster run."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import typer

from dpdau_assets.cli.main import guarded, leave
from dpdau_assets.cli.options import day_range, open_existing, parse_day
from dpdau_assets.cli.output import say, table
from dpdau_assets.core.quantities import DayRange, period_of
from dpdau_assets.errors import InputError, OperatorError, UsageError

if TYPE_CHECKING:
    from dpdau_assets.operations.session.workspace import Workspace


def main(arguments: Sequence[str] | None = None) -> None:
    """Read START and END, and end the process as the command line does."""
    parser = argparse.ArgumentParser(prog="make backfill", description=__doc__)
    parser.add_argument("--start", default="")
    parser.add_argument("--end", default="")
    options = parser.parse_args(arguments)
    leave(guarded(lambda: run(options.start, options.end), as_json=False))


def run(start: str, end: str) -> None:
    """Print the cost of the days from `start` to `end`, ask when somebody can answer, then run."""
    from dpdau_assets.orchestration.instance.range_run import run_range
    from dpdau_assets.settings.settings import dagster_home

    days = day_range(_day("START", start), _day("END", end))
    workspace = open_existing()
    check_calendar(workspace, days)
    say(cost(workspace, days))
    if sys.stdin.isatty() and not typer.confirm("Budget that is spent does not come back. Go on?"):
        return
    outcome = run_range(workspace.settings, days, home=dagster_home(workspace.settings))
    if outcome.failures:
        raise OperatorError(f"the Dagster run failed at {outcome.failures[0]}", hint="`make ui` shows the run")
    say(f"built and released {len(days)} days in Dagster run {outcome.run_id}")


def _day(name: str, text: str) -> date:
    if not text:
        raise UsageError(f"{name} is missing", hint="make backfill START=2026-01-01 END=2026-01-31")
    return parse_day(text)


def check_calendar(workspace: Workspace, days: DayRange) -> None:
    """Refuse days that cannot be released or have no Dagster partition, before anything runs."""
    from dpdau_assets.operations.session.calendar import require_closed, require_in_series, until_series_end

    settings, now = workspace.settings, workspace.now()
    require_in_series(settings, days)
    require_closed(settings, days.last, now)
    newest = until_series_end(settings, now.astimezone(settings.zone).date())
    if (newest - days.first).days >= settings.dagster_history_days:
        raise InputError(
            f"{days.first} is older than Dagster's {settings.dagster_history_days} days of history",
            hint="use `dpdau release`, or raise DAGSTER_HISTORY_DAYS",
        )


def cost(workspace: Workspace, days: DayRange) -> str:
    """What the missing releases of `days` would spend: a table by month and metric."""
    from dpdau_assets.operations.budget.snapshot import report_budget, spent_after
    from dpdau_assets.operations.monitor.due_work import missing_releases

    missing = Counter((period_of(day), metric) for metric, day in missing_releases(workspace, days))
    rows = []
    begun: set[str] = set()  # metrics whose first releases are counted in a row above
    for (period, metric), count in sorted(missing.items()):
        budget = report_budget(workspace, metric, period)
        fits = min(count, budget.releases_remaining)
        then = spent_after(workspace, metric, period, releases=fits, is_searched=metric in begun)
        begun.update([metric] if fits else [])
        losses = f"{budget.epsilon_spent:.3f}", f"{then:.3f}", f"{budget.epsilon_cap:g}"
        rows.append((period, metric.upper(), str(count), str(fits), *losses))
    if not rows:
        return f"{len(days)} days, every one released: costs nothing"
    headers = ("month", "metric", "missing releases", "of them fit", "epsilon so far", "afterwards", "cap")
    return f"{len(days)} days\n{table(headers, rows)}"


if __name__ == "__main__":
    main()
