"""The command plan: what a month of releases would cost, and how far its values would err."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dpdau_assets.cli.commands.budget import known_metric
from dpdau_assets.cli.options import Json, open_existing, parse_month
from dpdau_assets.cli.output import emit, number, table
from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import UsageError


def plan(
    metric: Annotated[str | None, typer.Option(metavar="dau|wau|mau", help="Default: all three.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Loss of one release, for independent noise.")] = None,
    cap: Annotated[float | None, typer.Option(help="Cap of the month, instead of the setting's.")] = None,
    mechanism: Annotated[str | None, typer.Option(help="Noise, instead of MECHANISM.")] = None,
    sketch: Annotated[str | None, typer.Option(help="Sketch, instead of SKETCH_IMPL.")] = None,
    month: Annotated[str | None, typer.Option(parser=parse_month, metavar="YYYY-MM", help="Default: now.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a month of releases would be worth and cost.

    Noise, width of the interval, how many releases fit, the day the budget runs out. Nothing is spent or written. Other
    parameters than the settings' are planned for the first month that no release has settled.
    """
    from dpdau_assets.operations.budget.plan import plan_releases
    from dpdau_assets.settings.settings import load_settings

    chosen = [known_metric(metric)] if metric else list(METRICS)
    workspace = open_existing()
    values = _overrides(chosen, epsilon, cap, mechanism or workspace.settings.mechanism)
    values |= {"mechanism": mechanism} if mechanism else {}
    values |= {"sketch_impl": sketch} if sketch else {}
    proposed = load_settings(**values) if values else workspace.settings
    plans = [each.to_json() for each in plan_releases(workspace, proposed, chosen, period=month)]
    emit(plans, as_json=as_json, text=lambda: plan_text(plans))


def _overrides(metrics: list[Metric], epsilon: float | None, cap: float | None, mechanism: str) -> dict[str, Any]:
    """The settings that --epsilon and --cap stand for."""
    if epsilon is not None and mechanism in ("correlated", "joint"):
        raise UsageError(
            f"--epsilon has no meaning for {mechanism} noise, which fills its cap", hint="use --cap, or --mechanism"
        )
    values: dict[str, Any] = {f"epsilon_{metric}": epsilon for metric in metrics if epsilon is not None}
    names = ["joint"] if mechanism == "joint" else metrics
    return values | {f"{name}_budget_total": cap for name in names if cap is not None}


def plan_text(plans: list[dict[str, Any]]) -> str:
    """Plans as a table, with a line on each budget that runs out."""
    headers = ["metric", "epsilon", "noise sd", "95 % width", "fit", "funded of planned", "spent", "at the end", "cap"]
    rows = [
        [
            each["metric"],
            f"{each['epsilon']:.3g}",
            _users(each["noise_stddev"], is_lower_bound=each["is_lower_bound"]),
            _users(each["interval_width"], is_lower_bound=each["is_lower_bound"]),
            str(each["releases_that_fit"]),
            f"{each['releases_funded']} of {each['releases_planned']}",
            f"{each['epsilon_spent']:.3f}",
            f"{each['epsilon_at_end']:.3f}",
            f"{each['epsilon_cap']:g}",
        ]
        for each in plans
    ]
    first = plans[0]
    settled = "settled by its first release" if first["is_open"] else "not settled yet"
    lines = [f"{first['period']}, {first['mechanism']} noise over {first['sketch_impl']}, {settled}", ""]
    lines += [table(headers, rows), ""]
    caps = {"metric": "its own cap", "month": "the cap over all metrics", "trailing_365d": "the cap over 365 days"}
    for each in plans:
        if each["runs_out_on"]:
            lines.append(f"{each['metric']} runs out on {each['runs_out_on']}: {caps[each['refused_by']]}")
    if not any(each["runs_out_on"] for each in plans):
        lines.append("every planned release is funded")
    if first["mechanism"] in ("correlated", "joint") and not first["is_open"]:
        lines.append("the month's first release also pays for the noise that its days share")
    if any(each["is_lower_bound"] for each in plans):
        lines.append("the sampling threshold is found, and paid for, by the first release; EXPECTED_USERS would set it")
        lines.append("if that samples a share of the users, noise and width are at least those shown divided by it")
    return "\n".join(lines)


def _users(value: float | None, *, is_lower_bound: bool) -> str:
    if value is None:
        return "-"
    return f"{'at least ' if is_lower_bound else ''}{number(round(value, 1))}"
