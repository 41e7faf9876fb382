"""The nightly schedule: half an hour after a day closes, one run of all days that are still to be released.

Dagster concept: schedule. It is hand-written because the ready-made one asks for yesterday only, and an outage over
a long weekend must be made up for by the next tick. Which days are due is the ledger's answer.
"""

from collections import Counter
from datetime import date, timedelta

import dagster as dg

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.monitor.due_work import DueReleases, due_releases
from dpdau_assets.operations.session.calendar import close_time, days_to_release, last_closed_day
from dpdau_assets.orchestration.assets.releases import release_key
from dpdau_assets.orchestration.partitions import BUILT, DailyPartitions, range_tags
from dpdau_assets.orchestration.resources import LedgerResource
from dpdau_assets.settings.settings import Settings

AFTER_CLOSE = timedelta(minutes=30)
MINUTES_A_DAY = 24 * 60


def release_schedule(partitions: DailyPartitions, *, settings: Settings, today: date) -> dg.ScheduleDefinition:
    """`daily_release_schedule`."""

    @dg.schedule(
        name="daily_release_schedule",
        job_name="daily_release_job",
        cron_schedule=cron_times(settings, today=today),
        execution_timezone=settings.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Releases every closed day of the last {settings.LOOK_BACK_DAYS} days that is not released yet and whose "
            "month has budget left, in one run: half an hour after the close of a day."
        ),
    )
    def daily_release_schedule(
        context: dg.ScheduleEvaluationContext, ledger: dg.ResourceParam[LedgerResource]
    ) -> dg.RunRequest | dg.SkipReason:
        if settings.series_start is None:
            return dg.SkipReason("SERIES_START is not set: nothing can be released; set it in .env")
        due = _due(ledger, partitions)
        if isinstance(due, dg.SkipReason):
            return due
        days = DayRange(min(due.days), max(due.days))
        return dg.RunRequest(
            run_key=f"release-{context.scheduled_execution_time.isoformat()}",
            tags=range_tags(days),
            asset_selection=[
                *map(dg.AssetKey, BUILT),
                *(release_key(metric) for metric in METRICS if metric in due.metrics),
                dg.AssetKey("published_metrics"),
            ],
        )

    return daily_release_schedule


def _due(ledger: LedgerResource, partitions: DailyPartitions) -> DueReleases | dg.SkipReason:
    now = ledger.now()
    wanted = days_to_release(partitions.settings, now)
    days = partitions.clip(wanted, last_closed=wanted.last) if wanted else None
    if days is None:
        return dg.SkipReason(
            "no day of the series has closed of late; the last closed day is "
            f"{last_closed_day(partitions.settings, now)}"
        )
    due = ledger.ask(due_releases, days)
    if due.days:
        return due
    if due.unfunded:
        return dg.SkipReason(f"no budget is left for what is not released: {', '.join(map(str, due.unfunded))}")
    return dg.SkipReason(f"every day of {days} is released")


def cron_times(settings: Settings, *, today: date) -> list[str]:
    """The wall-clock times of close plus half an hour, as cron lines.

    The close is counted in elapsed hours, so in a zone with summer time it falls an hour later once a year. The first
    line is the time of an ordinary day; a later one serves that day and finds nothing to do on others.
    """
    moments = [
        (close_time(settings, day) + AFTER_CLOSE).astimezone(settings.zone)
        for day in (today + timedelta(days=offset) for offset in range(-1, 366))
    ]
    times = Counter(moment.hour * 60 + moment.minute for moment in moments)
    usual = times.most_common(1)[0][0]
    later = sorted((time - usual) % MINUTES_A_DAY for time in times)
    return [
        f"{minute % 60} {minute // 60} * * *"
        for minute in ((usual + delay) % MINUTES_A_DAY for delay in later if delay < MINUTES_A_DAY // 2)
    ]
