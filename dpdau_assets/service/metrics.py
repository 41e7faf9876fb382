"""What monitoring reads: requests by handler, method and status, and where the data folder stands.

Belongs here: counting requests, right for any number of workers, and showing the ledger's numbers at the moment of the
scrape. Workers share their counts through files in PROMETHEUS_MULTIPROC_DIR, which `dpdau serve` makes and removes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.operations.monitor.gauges import Gauges, read_gauges
from dpdau_assets.service.folder import Folder
from dpdau_assets.service.problems import broken, where_it_broke

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5)
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_HANDLER = "none"
"""The handler of a path that does not exist: never the path itself, of which there is no end."""
SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
)
LABELS = ("handler", "method", "status")

requests_registry = CollectorRegistry()
requests_total = Counter("app_requests", "Requests answered.", LABELS, registry=requests_registry)
requests_5xx_total = Counter("app_requests_5xx", "Requests answered by 5xx.", LABELS, registry=requests_registry)
latency = Histogram(
    "app_request_latency_seconds",
    "Time from request to the end of its answer.",
    LABELS,
    buckets=BUCKETS,
    registry=requests_registry,
)
log = logging.getLogger("dpdau.service")


class Measured:
    """Counts every request, adds the headers that all answers have, and turns an unknown fault into the fixed 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Exception as fault:  # noqa: BLE001 - the edge: whatever it is, a client gets the fixed answer
            log.error("unexpected %s at %s", type(fault).__name__, where_it_broke(fault))
            if not status:
                await broken()(scope, receive, send_on)
        finally:
            _count(scope, status or 500, time.perf_counter() - began)


def _count(scope: AsgiScope, status: int, seconds: float) -> None:
    route = scope.get("route")
    handler = getattr(route, "path", NO_HANDLER)
    method = scope["method"] if scope["method"] in KNOWN_METHODS else "OTHER"
    labels = (handler, method, str(status))
    requests_total.labels(*labels).inc()
    if status >= 500:
        requests_5xx_total.labels(*labels).inc()
    latency.labels(*labels).observe(seconds)


def exposition(folder: Folder) -> bytes:
    """Everything in Prometheus' text format."""
    registry = CollectorRegistry()
    try:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:  # not started by `dpdau serve`: there is one process, and its counts are all there is
        registry = requests_registry
    ledger = CollectorRegistry()
    ledger.register(_Ledger(folder))
    return bytes(generate_latest(registry) + generate_latest(ledger))


class _Ledger(Collector):
    """The ledger's numbers as of the scrape."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        gauges = read_gauges(self._folder.workspace)
        yield from _days(gauges)
        yield _by_metric("dpdau_releases", "Released days.", gauges.released_days)
        yield GaugeMetricFamily("dpdau_erasures_pending", "Erasure requests not complete.", gauges.erasures_pending)
        yield GaugeMetricFamily(
            "dpdau_erasures_oldest_age_seconds", "Age of the oldest pending one.", gauges.oldest_erasure_seconds
        )
        budgets = {metric: self._folder.budgets.of_month(metric, gauges.closed_day) for metric in METRICS}
        for name in ("epsilon_spent", "epsilon_cap", "budget_remaining", "releases_remaining"):
            values = {metric: budget[name] for metric, budget in budgets.items()}
            yield _by_metric(f"dpdau_{name}", f"{name} of the month of the last closed day.", values)


def _days(gauges: Gauges) -> Iterator[Metric]:
    """Days as seconds since 1970 at their begin in UTC, so that they subtract from `time()`."""
    for name, day in (("closed", gauges.closed_day), ("built", gauges.built_day)):
        family = GaugeMetricFamily(f"dpdau_last_{name}_day_seconds", f"Last {name} day, as seconds since 1970.")
        if day is not None:
            family.add_metric([], _seconds(day))
        yield family
    released = {metric: _seconds(day) for metric, day in gauges.released_day.items() if day is not None}
    yield _by_metric("dpdau_last_released_day_seconds", "Last released day, as seconds since 1970.", released)


def _by_metric(name: str, text: str, values: Mapping[Any, float | None]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["metric"])
    for metric, value in values.items():
        if value is not None:
            family.add_metric([metric], value)
    return family


def _seconds(day: date) -> float:
    return float((day - date(1970, 1, 1)).days * 86_400)
