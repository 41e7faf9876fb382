"""Commands that publish: release, dau, wau, mau, export, report. A stored value is shown as it is and costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import typer

from dpdau_assets.cli.commands.budget import known_metric
from dpdau_assets.cli.options import End, Json, Start, day_range, open_existing, parse_day
from dpdau_assets.cli.output import emit, estimate_with_interval, number, progress_bar, table, upper_bound
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import BudgetExhaustedError, UsageError

Day = Annotated[
    date | None, typer.Option("--day", parser=parse_day, metavar="DAY", help="Default: the last closed day.")
]
WindowEnd = Annotated[
    date | None,
    typer.Option("--end", parser=parse_day, metavar="DAY", help="Last day of the window; default: last closed day."),
]


def release(
    start: Start,
    end: End,
    metric: Annotated[list[str] | None, typer.Option(metavar="dau|wau|mau", help="Default: all three.")] = None,
    revise: Annotated[bool, typer.Option("--revise", help="Publish a new, charged revision.")] = False,
    reason: Annotated[str | None, typer.Option(help="The public reason of a revision.")] = None,
    as_json: Json = False,
) -> None:
    """Release a range of days.

    In calendar order; days released before are shown as they are. The first that does not fit the budget is
    refused with the amounts, and a range goes on in the next funded month.
    """
    asked = {known_metric(name) for name in metric or METRICS}
    metrics = tuple(name for name in METRICS if name in asked)
    if revise and not (reason or "").strip():
        raise UsageError("--revise needs --reason", hint="give a public reason; an erasure or late data is none")
    if reason and not revise:
        raise UsageError("--reason belongs to --revise", hint="add --revise, or leave --reason out")
    days = day_range(start, end)
    from dpdau_assets.operations.release.publish_release import publish_releases

    with progress_bar() as progress:
        published = publish_releases(open_existing(), metrics, days, revise=revise, reason=reason, progress=progress)
    bodies = published.bodies if as_json else published.values  # the table shows no budget, whose bounds take seconds
    emit(bodies, as_json=as_json, text=lambda: release_table(bodies))
    if published.refused:
        raise BudgetExhaustedError(tuple(published.refused))


def release_table(bodies: Sequence[dict[str, Any]]) -> str:
    """Released values, one day a line and one metric a column, with their 95 % intervals."""
    if not bodies:
        return "nothing released"
    metrics = [metric for metric in METRICS if any(body["metric"] == metric for body in bodies)]
    cells = {(str(body["day"]), body["metric"]): estimate_with_interval(body) for body in bodies}
    days = sorted({day for day, _ in cells})
    headers = ("day", *(f"{metric.upper()} [95 % interval]" for metric in metrics))
    rows = [(day, *(cells.get((day, metric), "-") for metric in metrics)) for day in days]
    return table(headers, rows)


def dau(day: Day = None, as_json: Json = False) -> None:
    """Show daily active users.

    Released now if it can be, else as it was released.
    """
    _show_one("dau", day, as_json=as_json)


def wau(end: WindowEnd = None, as_json: Json = False) -> None:
    """Show weekly active users (7 days to --end).

    Released now if it can be, else as it was released.
    """
    _show_one("wau", end, as_json=as_json)


def mau(end: WindowEnd = None, as_json: Json = False) -> None:
    """Show monthly active users (30 days to --end).

    Over MAU_WINDOW_DAYS days. Released now if it can be, else as it was released.
    """
    _show_one("mau", end, as_json=as_json)


def _show_one(metric: Metric, day: date | None, *, as_json: bool) -> None:
    """Release one value when it is releasable and print it."""
    from dpdau_assets.operations.release.publish_release import publish_releases
    from dpdau_assets.operations.session.calendar import last_closed_day

    workspace = open_existing()
    if day is None:
        day = last_closed_day(workspace.settings, workspace.now())
    with progress_bar() as progress:
        published = publish_releases(workspace, (metric,), day_range(day, day), progress=progress)
    if published.refused:
        raise BudgetExhaustedError(tuple(published.refused))
    body = published.bodies[0]
    emit(body, as_json=as_json, text=lambda: one_line(body))


def one_line(body: dict[str, Any]) -> str:
    """A release body in one sentence: value, interval, what it cost, what is left."""
    window = "" if body["window_days"] == 1 else f" over {body['window_days']} days"
    at_least = "at least " if body["is_lower_bound"] else ""
    cost = (
        f"epsilon {body['epsilon_used']:.3g} used" if body["epsilon_used"] is not None else "seeded noise: NOT PRIVATE"
    )
    partial = "" if body["window_complete"] else f"; the window holds only {body['days_in_window']} days of data"
    return (
        f"{body['metric'].upper()} {body['day']}{window}: {at_least}{number(body['estimate'])} active users "
        f"(95 % interval {number(body['lower_95'])} to {upper_bound(body)}); {cost}, "
        f"{body['budget_remaining']:.3f} left in {str(body['day'])[:7]}{partial}"
    )


def export(as_json: Json = False) -> None:
    """Write released values as CSV and Parquet.

    To DATA_DIR/published.
    """
    from dpdau_assets.operations.exports.export_metrics import export_metrics

    paths = [str(path) for path in export_metrics(open_existing())]
    emit({"files": paths}, as_json=as_json, text=lambda: "\n".join(paths))


def report(as_json: Json = False) -> None:
    """Write an HTML report with charts.

    DATA_DIR/published/report.html: released values, intervals and the budget left.
    """
    from dpdau_assets.operations.exports.report import write_report

    path = str(write_report(open_existing()))
    emit({"report": path}, as_json=as_json, text=lambda: path)
