"""Telling an operator: each alert once while it lasts and again every day, when it is over, and runs that failed.

Dagster concept: a sensor whose cursor holds what was sent, and a run failure sensor. What is worth an alert belongs to
`operations.find_alerts`, how it is sent to `operations.send_alerts`. A delivery that fails is tried again at the next
tick, each way by itself, and fails no tick.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from dpdau_assets.errors import DpdauError
from dpdau_assets.operations.monitor.alerts import Alert, AlertKind, find_alerts
from dpdau_assets.operations.monitor.notifications import Delivery, Notice, as_text, deliveries
from dpdau_assets.orchestration.automation.run_requests import PLANNED_RUN_TAG
from dpdau_assets.orchestration.resources import LakeResource, LedgerResource
from dpdau_assets.settings.settings import Settings

SECONDS_BETWEEN_TICKS = 300
SECONDS_BETWEEN_FAILURES = 30
REPEATED_AFTER = timedelta(days=1)
ALERT_TAG = "dpdau/alert-"
"""Followed by a way of delivery: whether a failed run was told of there (`sent`) or still is to be (`waiting`)."""
LOG = "log"
RUNS_A_MESSAGE = 20
UNREADABLE = Alert(
    AlertKind.FOLDER_UNREADABLE,
    "the data folder cannot be opened or read, and nothing else of it can be said",
    "dpdau status, which says why; runbook: First, always",
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent one way: by the alert's key, when last (Unix time) and its text."""

    at: float
    text: str


SentByWay = dict[str, dict[str, Sent]]


def alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Both sensors, running from the start."""
    return [_alert_sensor(settings), _run_failure_alert_sensor(settings)]


def news(
    alerts: Sequence[Alert], sent: Mapping[str, Sent], *, now: float, is_complete: bool = True
) -> tuple[list[Notice], dict[str, Sent]]:
    """What is to be said now, and what will have been sent once it is.

    Args:
        alerts: Those of this moment.
        sent: What was sent before, this way.
        now: Unix time.
        is_complete: Whether an alert that is not among them is over; otherwise it is unknown.
    """
    notices: list[Notice] = []
    after = {} if is_complete else dict(sent)
    for alert in alerts:
        known = sent.get(alert.key)
        if known and 0 <= now - known.at < REPEATED_AFTER.total_seconds():
            after[alert.key] = known
            continue
        notices.append(Notice("still" if known else "new", alert.key, alert.text, alert.hint))
        after[alert.key] = Sent(now, alert.text)
    notices += [Notice("over", key, known.text) for key, known in sent.items() if key not in after]
    return notices, after


def to_cursor(sent: Mapping[str, Mapping[str, Sent]]) -> str:
    """The cursor as text."""
    return json.dumps({way: {key: [one.at, one.text] for key, one in known.items()} for way, known in sent.items()})


def from_cursor(cursor: str | None) -> SentByWay:
    """The inverse of `to_cursor`; nothing for the first tick."""
    stored = json.loads(cursor or "{}")
    return {way: {key: Sent(*values) for key, values in known.items()} for way, known in stored.items()}


def _alert_sensor(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells of overdue erasures, sources with many bad rows, late releases and exhausted budgets: once, every "
            "day while it lasts, and when it is over. To this log, ADMIN_EMAIL and ALERT_WEBHOOK_URL."
        ),
    )
    def alert_sensor(context: dg.SensorEvaluationContext, ledger: dg.ResourceParam[LedgerResource]) -> dg.SensorResult:
        try:
            alerts, is_complete = ledger.ask(find_alerts), True
        except DpdauError:
            alerts, is_complete = [UNREADABLE], False
        now, before = ledger.lake.clock().timestamp(), from_cursor(context.cursor)
        sent: SentByWay = {}
        reasons = [f"{len(alerts)} alerts last"]
        for way, deliver in _ways(settings, context.log):
            known = before.get(way, {})
            notices, after = news(alerts, known, now=now, is_complete=is_complete)
            runs = _waiting_runs(context.instance, way)
            failure = deliver([*notices, *runs.values()]) if notices or runs else None
            if failure:
                context.log.warning(failure)
                reasons.append(failure)
            else:
                _mark(context.instance, runs, way, "sent")
            sent[way] = known if failure else after
        return dg.SensorResult(cursor=to_cursor(sent), skip_reason=dg.SkipReason("; ".join(reasons)))

    return alert_sensor


def _run_failure_alert_sensor(settings: Settings) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="run_failure_alert_sensor",
        minimum_interval_seconds=SECONDS_BETWEEN_FAILURES,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Tells of each run that failed by its job and id; of further attempts at the same work once a day. What "
            "cannot be delivered, the alert sensor tries again."
        ),
    )
    def run_failure_alert_sensor(context: dg.RunFailureSensorContext, lake: dg.ResourceParam[LakeResource]) -> None:
        run, instance = context.dagster_run, context.instance
        if _was_told_of(instance, run.tags.get(PLANNED_RUN_TAG), since=lake.clock() - REPEATED_AFTER):
            return
        ways = dict(_ways(settings, context.log))
        tried = [way for way in ways if not _waiting_runs(instance, way)]  # one known to be down is not, for every run
        for way in ways:  # before any delivery: what a tick that dies did not deliver, the alert sensor does
            _mark(instance, [run.run_id], way, "waiting")
        for way in tried:
            failure = ways[way]([_failed(run)])
            if failure:
                context.log.warning(failure)
            else:
                _mark(instance, [run.run_id], way, "sent")

    return run_failure_alert_sensor


def _ways(settings: Settings, log: Any) -> Iterator[tuple[str, Delivery]]:
    """The ways to tell, by name: this tick's log always, and those that the settings name."""

    def write(notices: Sequence[Notice]) -> None:
        log.warning(as_text(notices))

    yield LOG, write
    yield from deliveries(settings).items()


def _failed(run: dg.DagsterRun) -> Notice:
    return Notice(
        "new",
        f"run_failed {run.run_id}",
        f"run {run.run_id} of {run.job_name} failed",
        "its page in Dagster says why; runbook: A run failed",
    )


def _was_told_of(instance: dg.DagsterInstance, planned: str | None, *, since: datetime) -> bool:
    """Whether an earlier attempt at the same work, made since then, was told of."""
    if planned is None:
        return False
    told = dg.RunsFilter(tags={PLANNED_RUN_TAG: planned, ALERT_TAG + LOG: "sent"}, created_after=since)
    return bool(instance.get_run_records(told, limit=1))


def _waiting_runs(instance: dg.DagsterInstance, way: str) -> dict[str, Notice]:
    """Notices of failed runs that could not be delivered that way before, by run."""
    records = instance.get_run_records(dg.RunsFilter(tags={ALERT_TAG + way: "waiting"}), limit=RUNS_A_MESSAGE)
    return {record.dagster_run.run_id: _failed(record.dagster_run) for record in records}


def _mark(instance: dg.DagsterInstance, run_ids: Iterable[str], way: str, state: str) -> None:
    for run_id in run_ids:
        instance.add_run_tags(run_id, {ALERT_TAG + way: state})
