"""The service as a real process on a real loopback port, and questions to it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.quantities import DayRange, Metric
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.settings.settings import project_settings
from dpdau_tests.support.command_line import CommandLine

START_SECONDS = 60
TODAY = datetime.now(UTC).date()
FIRST = TODAY.replace(day=1) - timedelta(days=90)
"""First day of the series of served folders."""
KEYS = {
    "SERVICE_API_KEY": "service-key-0123456789",
    "READ_API_KEY": "read-key-0123456789",
    "METRICS_API_KEY": "metrics-key-0123456789",
    "INGEST_API_KEY": "ingest-key-0123456789",
}


@dataclass(frozen=True)
class Reply:
    """An answer of the service."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Served:
    """A running service.

    Args:
        process: Its process.
        port: Its port on 127.0.0.1.
    """

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str, *, key: str = "", method: str = "GET", **headers: str) -> Reply:
        """One question on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["X-API-Key"] = KEYS.get(key, key)
        try:
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """Whatever comes back for these bytes until the service closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def wait_until(self, status: int = 200, *, path: str = "/readyz") -> None:
        """Waits until `path` answers with `status`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, "the service ended"
            try:
                if self.get(path).status == status:
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, f"{path} never answered {status}"
            time.sleep(0.05)


def served_project(folder: Path, **settings: str) -> CommandLine:
    """A project whose series began three months ago, with exact sketches."""
    return CommandLine(folder, **{"SERIES_START": FIRST.isoformat(), "SKETCH_IMPL": "set", **settings})


def workspace_of(project: CommandLine, **named: Any) -> Workspace:
    """The project's open data folder, by the machine's clock."""
    return open_workspace(project_settings(project.folder), **named)


def release(workspace: Workspace, metric: Metric, first: date, last: date | None = None) -> list[dict[str, Any]]:
    """Released values with their budgets."""
    return publish_releases(workspace, (metric,), DayRange(first, last or first)).bodies


@contextmanager
def serving(project: CommandLine, *options: str) -> Iterator[Served]:
    """The service over a project, ready; ended by its own number when the block is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile("w+") as output:
        process = project.start("serve", "--port", str(port), *options, stdout=output, stderr=output)
        try:
            served = Served(process, port)
            served.wait_until()
            yield served
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
