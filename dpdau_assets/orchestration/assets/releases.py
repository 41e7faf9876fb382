"""The assets `dau_release`, `wau_release`, `mau_release` and `published_metrics`: private numbers, and their export.

One step makes all releases asked for, so that a range goes day by day in calendar order over all metrics. Budget,
calendar and noise belong to `operations.publish_release`, reached through the resource `privacy_budget` only.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from dpdau_assets.core.quantities import METRICS, Metric
from dpdau_assets.errors import Refusal
from dpdau_assets.orchestration.failures import RETRY_STORAGE, plain_failures
from dpdau_assets.orchestration.partitions import DailyPartitions, days_of_run
from dpdau_assets.orchestration.resources import PrivacyBudgetResource, ReleaseOutcome
from dpdau_assets.settings.settings import Settings

RELEASE = """\
**The published number of {what}**: an estimate with noise, final once made.

| | |
|---|---|
| privacy | per user: epsilon {spent}, at delta {delta:g} |
| made once | a second run returns the stored value and costs nothing |
| refused | an open day, a day outside the series, a day whose month has no budget left (never retried) |
| erasures | change later windows; a published value stays |

Plots: the released value, its 95 % interval, and what the month's budget had left when the day was recorded.
"""

EXPORT = """\
**All published values as files for readers**: `published/metrics.csv`, `metrics.parquet` and `report.html` (charts
with intervals and budget left). Written whole from the ledger each time; holds nothing that is not public.
"""

PLOTTED = ("estimate", "lower_95", "upper_95", "budget_remaining")
"""Numbers of a release body that Dagster plots over the days."""


def release_assets(partitions: DailyPartitions, *, settings: Settings, owners: list[str]) -> list[dg.AssetsDefinition]:
    """The assets of the group `releases`."""

    @dg.multi_asset(
        name="dp_releases",
        specs=[_release_spec(metric, partitions, settings=settings, owners=owners) for metric in METRICS],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY_STORAGE,
    )
    def dp_releases(
        context: dg.AssetExecutionContext, privacy_budget: dg.ResourceParam[PrivacyBudgetResource]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of_run(context)
        metrics = [metric for metric in METRICS if release_key(metric) in context.selected_asset_keys]
        with plain_failures():
            outcome = privacy_budget.release(metrics, days)
        if not outcome.is_complete:
            _record_what_was_released(context, outcome)
            with plain_failures():
                privacy_budget.export()
            raise _refusal(outcome)
        for body in outcome.bodies:
            context.add_asset_metadata(
                release_metadata(body), asset_key=release_key(body["metric"]), partition_key=str(body["day"])
            )
        for metric in metrics:
            yield dg.MaterializeResult(asset_key=release_key(metric))

    @dg.asset(
        partitions_def=partitions.definition,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[release_key(metric) for metric in METRICS],
        group_name="releases",
        kinds={"csv", "parquet"},
        owners=owners,
        description=EXPORT,
        retry_policy=RETRY_STORAGE,
    )
    def published_metrics(
        context: dg.AssetExecutionContext, privacy_budget: dg.ResourceParam[PrivacyBudgetResource]
    ) -> dg.MaterializeResult:
        days = days_of_run(context)
        with plain_failures():
            files = privacy_budget.export()
        return dg.MaterializeResult(metadata={"files": ", ".join(files), "days in run": len(days)})

    return [dp_releases, published_metrics]


def release_key(metric: str) -> dg.AssetKey:
    """The asset of the releases of `metric`."""
    return dg.AssetKey(f"{metric}_release")


def release_metadata(body: Mapping[str, Any]) -> dict[str, Any]:
    """What Dagster shows of a release: numbers of its public body only, as floats so that they plot."""
    numbers = {name: round(float(body[name]), 4) for name in PLOTTED if body.get(name) is not None}
    return {**numbers, "revision": str(body["revision"]), "mechanism": str(body["mechanism"])}


def _release_spec(
    metric: Metric, partitions: DailyPartitions, *, settings: Settings, owners: list[str]
) -> dg.AssetSpec:
    what = {
        "dau": "users active on the day",
        "wau": "users active in the 7 days that end on the day",
        "mau": f"users active in the {settings.mau_window_days} days that end on the day",
    }[metric]
    return dg.AssetSpec(
        release_key(metric),
        deps=["mau_unions"],
        partitions_def=partitions.definition,
        group_name="releases",
        kinds={"python", "sqlite"},
        owners=owners,
        description=RELEASE.format(what=what, spent=_spent(settings, metric), delta=settings.delta),
    )


def _spent(settings: Settings, metric: Metric) -> str:
    """What a user loses by the releases of a metric, in words."""
    if settings.mechanism == "joint":
        return f"{settings.cap_of('joint'):g} a calendar month for dau, wau and mau together"
    if settings.mechanism == "correlated":
        return f"{settings.cap_of(metric):g} a calendar month"
    return f"{settings.epsilon_of(metric):g} for this release, {settings.cap_of(metric):g} a calendar month"


def _record_what_was_released(context: dg.AssetExecutionContext, outcome: ReleaseOutcome) -> None:
    """The step is about to fail: a failing step records nothing by itself, so each release is recorded here."""
    for body in outcome.bodies:
        context.log_event(
            dg.AssetMaterialization(
                release_key(body["metric"]), partition=str(body["day"]), metadata=release_metadata(body)
            )
        )
    for day in sorted({str(body["day"]) for body in outcome.bodies}):
        context.log_event(dg.AssetMaterialization("published_metrics", partition=day))


def _refusal(outcome: ReleaseOutcome) -> dg.Failure:
    parts = [*outcome.not_releasable, *(describe_refusal(refusal) for refusal in outcome.refused)]
    shown = "; ".join(parts[:10]) + (f"; and {len(parts) - 10} more, see the metadata" if len(parts) > 10 else "")
    return dg.Failure(
        f"{len(parts)} not released: {shown}",
        metadata={"released": len(outcome.bodies), "refused": dg.MarkdownMetadataValue(_refusal_table(outcome))},
        allow_retries=False,
    )


def describe_refusal(refusal: Refusal) -> str:
    """One refused release with its amounts, on one line."""
    return (
        f"{refusal.metric} {refusal.day} ({refusal.scope} cap: spent {refusal.epsilon_spent:.3f} of "
        f"{refusal.epsilon_cap:.3f}, this release would make it {refusal.epsilon_needed:.3f})"
    )


def _refusal_table(outcome: ReleaseOutcome) -> str:
    rows: Sequence[str] = [
        f"| {refusal.metric} | {refusal.day} | {refusal.scope} | {refusal.epsilon_spent:.3f} | "
        f"{refusal.epsilon_cap:.3f} | {refusal.epsilon_needed:.3f} | {refusal.next_funded_day or ''} |"
        for refusal in outcome.refused
    ]
    head = "| metric | day | cap | spent | of | needed | next funded day |\n|---|---|---|---|---|---|---|\n"
    return "\n".join(outcome.not_releasable) + ("\n\n" if outcome.not_releasable else "") + head + "\n".join(rows)
