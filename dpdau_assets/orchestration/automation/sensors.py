"""The sensors: new inbox files, pending erasures, and work done without Dagster.

Dagster concept: sensors. They ask the ledger what is to be done and request runs; a tick reads no source and builds
nothing. None of them ever requests a release: a release depends on calendar and budget only (`schedules`).
"""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg

from dpdau_assets.core.quantities import DayRange, contiguous_ranges
from dpdau_assets.operations.exports.export_metrics import exported_days
from dpdau_assets.operations.monitor.due_work import (
    changed_partitions,
    newest_numbers,
    pending_erasures,
    releases_made,
    staged_days,
)
from dpdau_assets.operations.session.calendar import until_series_end
from dpdau_assets.orchestration.assets.releases import release_key, release_metadata
from dpdau_assets.orchestration.automation import inbox, reconcile
from dpdau_assets.orchestration.automation.run_requests import PLANNED_RUN_TAG, PlannedRun, ask_for, has_run_under_way
from dpdau_assets.orchestration.partitions import DailyPartitions, range_tags
from dpdau_assets.orchestration.resources import LakeResource, LedgerResource

SECONDS_BETWEEN_TICKS = 15


def sensors(partitions: DailyPartitions, *, jobs: Sequence[Any]) -> list[dg.SensorDefinition]:
    """The sensors, all running from the start; `jobs` are those that the inbox sensor starts."""
    return [_inbox_sensor(partitions, jobs=jobs), _erasure_sensor(partitions), _reconcile_sensor(partitions)]


def _inbox_sensor(partitions: DailyPartitions, *, jobs: Sequence[Any]) -> dg.SensorDefinition:
    @dg.sensor(
        name="inbox_sensor",
        jobs=jobs,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Stages inbox files whose size and time stood still for two ticks, and builds closed days that have "
            "staged rows, with the windows over them. Ignores `.tmp`, `.part` and dotfiles."
        ),
    )
    def inbox_sensor(
        context: dg.SensorEvaluationContext,
        lake: dg.ResourceParam[LakeResource],
        ledger: dg.ResourceParam[LedgerResource],
    ) -> dg.SensorResult:
        now = lake.clock().timestamp()
        before, there = inbox.from_cursor(context.cursor), inbox.look(lake.inbox)
        groups = inbox.choose(before, there, now=now)
        if groups and has_run_under_way(context.instance, now=now, job_name="ingest_job"):
            groups = []
        requests: list[dg.RunRequest] = [
            dg.RunRequest(
                run_key=inbox.run_key(names, before),
                job_name="ingest_job",
                tags={PLANNED_RUN_TAG: inbox.work_name(names, before)},
                run_config={"ops": {"stage_inbox_files": {"config": {"names": names}}}},
            )
            for names in groups
        ]
        skipped: list[str] = []
        for planned in _builds(ledger, partitions):
            answer = ask_for(planned, context.instance, now=now)
            if isinstance(answer, dg.RunRequest):
                requests.append(answer)
            else:
                skipped.append(str(answer.skip_message))
        taken = {name for names in groups for name in names}
        cursor = inbox.to_cursor(inbox.remember(before, there, taken, now=now))
        reason = "; ".join(skipped) or f"{len(there)} files in the inbox, none complete and new; no closed day to build"
        return dg.SensorResult(
            run_requests=requests, cursor=cursor, skip_reason=None if requests else dg.SkipReason(reason)
        )

    return inbox_sensor


def _builds(ledger: LedgerResource, partitions: DailyPartitions) -> Iterator[PlannedRun]:
    """Runs for the closed days that have staged rows, and for the windows over them."""
    staged = ledger.ask(staged_days)
    if staged is None:
        return
    last = ledger.last_closed_day()
    widened = [partitions.with_windows(DayRange.single(day), last_closed=last) for day in staged.days if day <= last]
    for days in contiguous_ranges(day for part in widened if part for day in part):
        yield PlannedRun("rebuild_job", f"build-{days}-batch-{staged.newest_batch}", tags=range_tags(days))


def _erasure_sensor(partitions: DailyPartitions) -> dg.SensorDefinition:
    @dg.sensor(
        name="erasure_sensor",
        job_name="erasure_replay_job",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Replays pending erasures over all days they may concern and the windows over those, in one contiguous "
            "range that tells nothing about a person's days; asks again until the ledger shows them applied."
        ),
    )
    def erasure_sensor(
        context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.RunRequest | dg.SkipReason:
        pending = ledger.ask(pending_erasures)
        if pending is None:
            return dg.SkipReason("no erasure is pending")
        days = _erasure_range(pending.days, partitions, last_closed=ledger.last_closed_day())
        if days is None:
            return dg.SkipReason("erasures are pending, but no day has a partition yet; run `dpdau flush-deletes`")
        now = ledger.lake.clock().timestamp()
        if has_run_under_way(context.instance, now=now, job_name="erasure_replay_job"):
            return dg.SkipReason("an erasure replay is under way")
        planned = PlannedRun("erasure_replay_job", f"erasures-{pending.newest_request}", tags=range_tags(days))
        return ask_for(planned, context.instance, now=now)

    return erasure_sensor


def _erasure_range(days: DayRange | None, partitions: DailyPartitions, *, last_closed: date) -> DayRange | None:
    """`days` and the windows over them; where nothing of that has a partition, the newest day that has one, for the
    job replays every day held whatever its range."""
    concerned = partitions.with_windows(days, last_closed=last_closed) if days else None
    return concerned or partitions.clip(
        DayRange.single(until_series_end(partitions.settings, last_closed)), last_closed=last_closed
    )


def _reconcile_sensor(partitions: DailyPartitions) -> dg.SensorDefinition:
    @dg.sensor(
        name="reconcile_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells Dagster of partitions built, and of values released and exported, by command line, newest first, "
            f"{reconcile.EVENTS_A_TICK} a tick. The ledger and the published files are the truth."
        ),
    )
    def reconcile_sensor(
        context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.SensorResult | dg.SkipReason:
        if has_run_under_way(context.instance, now=ledger.lake.clock().timestamp()):
            return dg.SkipReason("a run is under way; it tells Dagster itself")
        built, released = reconcile.from_cursor(context.cursor)
        newest = ledger.ask(newest_numbers)
        built, released = built.grown_to(newest.version), released.grown_to(newest.charge)
        reports, built, released = _next_reports(ledger, built, released)
        room = reconcile.EVENTS_A_TICK - len(reports)
        shown = [one for one in reports if partitions.has(one.partition)]
        shown += _export_reports(context.instance, ledger, partitions, room=room)
        told = reconcile.tell(context.instance, shown)
        reason = dg.SkipReason(f"told Dagster of {told} partitions" if told else "Dagster knows everything built")
        return dg.SensorResult(cursor=reconcile.to_cursor(built, released), skip_reason=reason)

    return reconcile_sensor


def _export_reports(
    instance: dg.DagsterInstance, ledger: LedgerResource, partitions: DailyPartitions, *, room: int
) -> list[reconcile.Report]:
    """Days with a partition that the published files hold and Dagster does not know of. Of a day once recorded nothing
    is said again: each export writes the whole files."""
    key, now = dg.AssetKey("published_metrics"), ledger.lake.clock().timestamp()
    exported = [day.isoformat() for day in ledger.ask(exported_days)]
    known = instance.get_materialized_partitions(key) if exported else set()
    unknown = [day for day in exported if day not in known and partitions.has(day)]
    return [reconcile.Report(key, day, now, {}) for day in unknown[:room]]


def _next_reports(
    ledger: LedgerResource, built: reconcile.Backlog, released: reconcile.Backlog
) -> tuple[list[reconcile.Report], reconcile.Backlog, reconcile.Backlog]:
    """The newest work not yet looked at, releases first, and what then remains."""
    reports: list[reconcile.Report] = []
    room = reconcile.EVENTS_A_TICK
    while released.gaps and room:
        above, upto = released.gaps[0]
        made = ledger.ask(releases_made, above=above, upto=upto, limit=room)
        reports += [
            reconcile.Report(
                release_key(one.body["metric"]),
                one.body["day"],
                one.released_at.timestamp(),
                release_metadata(one.body),
            )
            for one in made
        ]
        released = released.without_newest([one.charge for one in made], is_all=len(made) < room)
        room -= len(made)
    while built.gaps and room:
        above, upto = built.gaps[0]
        changed = ledger.ask(changed_partitions, above=above, upto=upto, limit=room)
        reports += [
            reconcile.Report(dg.AssetKey(one.asset), one.day.isoformat(), one.built_at.timestamp(), {})
            for one in changed
        ]
        built = built.without_newest([one.version for one in changed], is_all=len(changed) < room)
        room -= len(changed)
    return reports, built, released
