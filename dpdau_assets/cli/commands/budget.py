"""Commands of the privacy budget: budget, reset-budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dpdau_assets.cli.options import Json, open_existing, parse_month
from dpdau_assets.cli.output import emit
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import UsageError

if TYPE_CHECKING:
    from dpdau_assets.core.accounting.snapshot import BudgetSnapshot


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
    state = report_budget(workspace, name, period)
    emit(state.to_json(), as_json=as_json, text=lambda: budget_text(state))


def budget_text(state: BudgetSnapshot) -> str:
    """A budget in words."""
    bounds = ", ".join(f"{name} {bound.epsilon:.3f}" for name, bound in state.bounds.items() if bound is not None)
    resets = f"; {state.resets} resets" if state.resets else ""
    return (
        f"{state.metric.upper()} in {state.period}: epsilon {state.epsilon_spent:.3f} of "
        f"{state.epsilon_cap:g} spent at delta {state.delta:g}, {state.epsilon_remaining:.3f} left\n"
        f"releases: {state.release_count} made, {state.releases_remaining} more fit; "
        f"next funded day {state.next_funded_day or '-'}{resets}\n"
        f"bounds on the same spend: {bounds}\n"
        f"all metrics: {state.trailing_365d_epsilon:.3f} over the trailing 365 days, "
        f"{state.lifetime_epsilon:.3f} in all"
    )


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
