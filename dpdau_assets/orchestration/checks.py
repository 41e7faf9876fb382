"""The asset checks: rejected rows, erased users and damage, sketch error and budget.

Dagster concept: asset checks, unpartitioned, each looking at the days of its run. What is measured belongs to
`operations.check_quality` and `operations.verify`; a result holds verdicts, rates and limits, never a count of users.
"""

from collections.abc import Sequence

import dagster as dg

from dpdau_assets.core.accounting.snapshot import BudgetSnapshot
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, period_of
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.monitor.quality import rejected_rows, sketch_accuracy
from dpdau_assets.operations.session.calendar import look_back
from dpdau_assets.operations.verify.findings import Verification
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.orchestration.assets.releases import release_key
from dpdau_assets.orchestration.failures import plain_failures
from dpdau_assets.orchestration.partitions import days_of_run
from dpdau_assets.orchestration.resources import LedgerResource

HARMLESS = ("unknown", "leftover")
"""Findings about files that are part of nothing and hold nobody who is erased."""


def asset_checks() -> Sequence[dg.AssetChecksDefinition]:
    """The checks of all assets."""
    return [
        _quarantine_rate(),
        _no_erased_user(),
        _sketch_error(),
        *(_budget_within_cap(metric) for metric in METRICS),
    ]


def _quarantine_rate() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset="raw_events",
        name="quarantine_rate",
        description="At most QUARANTINE_MAX_RATE of the rows of each source of the last day were rejected.",
    )
    def quarantine_rate_check(ledger: dg.ResourceParam[LedgerResource]) -> dg.AssetCheckResult:
        with plain_failures():
            rejected = ledger.ask(rejected_rows)
        return dg.AssetCheckResult(
            passed=not rejected.is_too_many,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"rejected share": rejected.worst_share, "limit": rejected.limit},
        )

    return quarantine_rate_check


def _no_erased_user() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset="erasure_replay",
        name="no_erased_user",
        blocking=True,
        description="`dpdau verify` over the run's days, the windows behind them and every place that a run writes to: "
        "no user whose erasure was applied is left, and files, charges and caps are as recorded; otherwise nothing is "
        "released. The whole folder is looked at by `dpdau verify` itself and for each certificate.",
    )
    def no_erased_user(
        context: dg.AssetCheckExecutionContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.AssetCheckResult:
        with plain_failures():
            days = _days(context, ledger)
            found = ledger.ask(verify, days)
        return dg.AssetCheckResult(
            passed=found.ok,
            severity=_severity(found),
            description="; ".join(f"{one.place}: {one.message}. Repair: {one.repair}" for one in found.findings),
            metadata={"days": str(days), "kinds of findings": sorted({one.kind for one in found.findings})},
        )

    return no_erased_user


def _severity(found: Verification) -> dg.AssetCheckSeverity:
    """Files that nobody uses are reported and stop nothing; anything else that is wrong stops the releases."""
    is_harmless = all(one.kind in HARMLESS for one in found.findings)
    return dg.AssetCheckSeverity.WARN if is_harmless else dg.AssetCheckSeverity.ERROR


def _sketch_error() -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset="daily_sketches",
        name="sketch_error",
        description="Every sketch of the run agrees with its day's live users within the bound of its kind.",
    )
    def sketch_error(
        context: dg.AssetCheckExecutionContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.AssetCheckResult:
        with plain_failures():
            accuracy = ledger.ask(sketch_accuracy, _days(context, ledger))
        return dg.AssetCheckResult(
            passed=accuracy.worst_error <= accuracy.bound,
            metadata={"worst relative error": accuracy.worst_error, "bound": accuracy.bound},
        )

    return sketch_error


def _budget_within_cap(metric: Metric) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=release_key(metric),
        name="budget_within_cap",
        description="What the releases of each month of the run compose to stays within that month's cap.",
    )
    def budget_within_cap(
        context: dg.AssetCheckExecutionContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.AssetCheckResult:
        with plain_failures():
            months = sorted({period_of(day) for day in _days(context, ledger)})
            reports = [ledger.ask(report_budget, metric, month) for month in months]
        return dg.AssetCheckResult(
            passed=all(_is_within_cap(report) for report in reports),
            metadata={
                "epsilon spent, most in a month": max(float(report.epsilon_spent) for report in reports),
                "epsilon cap": min(float(report.epsilon_cap) for report in reports),
            },
        )

    return budget_within_cap


def _is_within_cap(report: BudgetSnapshot) -> bool:
    """Whether a month's loss is within what its accounts allow together; every approved reset allows one cap more."""
    return report.epsilon_spent <= report.epsilon_cap * (1 + report.resets)


def _days(context: dg.AssetCheckExecutionContext, ledger: LedgerResource) -> DayRange:
    """The days of the run; the newest closed days when the check is run by itself."""
    step = context.op_execution_context
    if step.has_partition_key or step.has_partition_key_range:
        return days_of_run(step)
    return look_back(ledger.lake.settings, ledger.now())
