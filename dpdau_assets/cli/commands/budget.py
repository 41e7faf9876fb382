"""Commands of the privacy budget: budget, reset-budget."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dpdau_assets.cli.options import Json, open_existing, parse_month
from dpdau_assets.cli.output import emit
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import UsageError


def known_metric(text: str) -> Metric:
    """The metric called `text`; anything else is a usage error."""
    for metric in METRICS:
        if metric == text:
            return metric
    raise UsageError(f"metric {text} is unknown", hint="use dau, wau or mau")


def budget(
    metric: Annotated[str, typer.Argument(metavar="dau|wau|mau")],
    month: Annotated[str | None, typer.Option(parser=parse_month, metavar="YYYY-MM", help="Default: now.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a metric has spent of a month.

    By every accounting method, with how many releases still fit and which day is funded next.
    """
    from dpdau_assets.operations.budget.snapshot import report_budget

    name = known_metric(metric)
    workspace = open_existing()
    period = month or f"{workspace.now().astimezone(workspace.settings.zone):%Y-%m}"
    document = report_budget(workspace, name, period)
    emit(document, as_json=as_json, text=lambda: budget_text(document))


def budget_text(document: dict[str, Any]) -> str:
    """A budget document in words."""
    bounds = ", ".join(
        f"{name} {bound['epsilon']:.3f}" for name, bound in document["bounds"].items() if bound["epsilon"] is not None
    )
    resets = f"; {document['resets']} resets" if document["resets"] else ""
    return (
        f"{document['metric'].upper()} in {document['period']}: epsilon {document['epsilon_spent']:.3f} of "
        f"{document['epsilon_cap']:g} spent at delta {document['delta']:g}, {document['epsilon_remaining']:.3f} left\n"
        f"releases: {document['release_count']} made, {document['releases_remaining']} more fit; "
        f"next funded day {document['next_funded_day'] or '-'}{resets}\n"
        f"bounds on the same spend: {bounds}\n"
        f"all metrics: {_or_dash(document['trailing_365d_epsilon'])} over the trailing 365 days, "
        f"{_or_dash(document['lifetime_epsilon'])} in all"
    )


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def reset(
    month: Annotated[str, typer.Option(parser=parse_month, metavar="YYYY-MM", help="The month to open again.")],
    reason: Annotated[str, typer.Option(help="Who approved it and why; it is stored and shown.")],
    metric: Annotated[str | None, typer.Argument(metavar="[dau|wau|mau]", help="Default: all three.")] = None,
    as_json: Json = False,
) -> None:
    """Open a further account for a month.

    Only after an approval: the privacy loss of that month grows accordingly, and released values then show it.
    """
    from dpdau_assets.operations.budget.reset import reset_budget

    if not reason.strip():
        raise UsageError("--reason is empty", hint="say who approved the reset and why")
    name = known_metric(metric) if metric else None
    resets = reset_budget(open_existing(), name, month, reason)
    document = {"period": month, "metrics": [each.metric for each in resets], "reason": reason}
    names = ", ".join(document["metrics"])
    emit(document, as_json=as_json, text=lambda: f"opened a further account of {names} for {month}")


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("budget")(budget)
    app.command("reset-budget")(reset)
