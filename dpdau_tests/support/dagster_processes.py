"""Dagster as its own processes over a data folder: webserver and daemon on loopback, always stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from dpdau_assets.orchestration.instance.home import create_home

MODULE = "dpdau_assets.definitions"
WORKSPACE = f"load_from:\n  - python_module:\n      module_name: {MODULE}\n      attribute: defs\n"
SELECTOR = {"repositoryLocationName": f"{MODULE}:defs", "repositoryName": "__repository__"}


@dataclass
class LiveDagster:
    """A project folder with its own Dagster home, and the processes started over it."""

    project: Path
    environment: dict[str, str]
    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """DAGSTER_HOME."""
        return self.project / "home"

    def wait_until(self, is_done: Callable[[], Any], what: str, *, seconds: float) -> Any:
        """The first true answer of `is_done`, asked twice a second; fails the test when none comes in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = is_done()
            if answer:
                return answer
            ended = [process.args for process in self.processes if process.poll() is not None]
            assert not ended, f"a process ended by itself: {ended}\n{self.logs()}"
            time.sleep(0.5)
        raise AssertionError(f"waited {seconds:.0f} s in vain: {what}\n{self.logs()}")

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Starts one process in a group of its own."""
        with (self.project / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / command[0]), *command[1:]],
                cwd=self.project,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_webserver(self) -> None:
        """Starts the UI and waits until it has loaded the definitions."""
        workspace = str(self.project / "workspace.yaml")
        self.start("dagster-webserver", "-h", "127.0.0.1", "-p", str(self.port), "-w", workspace, log="webserver")
        self.wait_until(self._has_loaded, "the webserver loads the definitions", seconds=120)

    def start_daemon(self, *, log: str = "daemon") -> subprocess.Popen[bytes]:
        """Starts a daemon."""
        workspace = str(self.project / "workspace.yaml")
        return self.start("dagster-daemon", "run", "-w", workspace, log=log)

    def dpdau(self, *arguments: str, given: str = "") -> str:
        """Runs one command of the command line and returns what it printed."""
        answer = subprocess.run(
            [sys.executable, "-m", "dpdau_assets.cli.main", *arguments],
            cwd=self.project,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a GraphQL answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            document: dict[str, Any] = json.load(response)
        assert "errors" not in document, document["errors"]
        data: dict[str, Any] = document["data"]
        return data

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The same Dagster instance, opened in this process."""
        with dg.DagsterInstance.from_config(str(self.home)) as opened:
            yield opened

    def materialised(self, asset: str) -> set[str]:
        """The partitions of an asset that Dagster knows to be materialised."""
        with self.instance() as instance:
            return set(instance.get_materialized_partitions(dg.AssetKey(asset)))

    def runs(self, job: str | None = None) -> list[dg.DagsterRun]:
        """All runs, newest first."""
        with self.instance() as instance:
            return list(instance.get_runs(dg.RunsFilter(job_name=job)))

    def logs(self) -> str:
        """The last lines of every process, for a failing test."""
        tails = [
            f"== {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-4000:]}"
            for path in sorted(self.project.glob("*.log"))
        ]
        return "\n".join(tails)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stops one process with everything it started."""
        for sign, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 10)):
            try:
                os.killpg(process.pid, sign)
                process.wait(patience)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what a process leaves behind when it ends by itself
        process.wait(10)
        self.processes.remove(process)

    def _has_loaded(self) -> bool:
        query = """query($s: RepositorySelector!) { repositoryOrError(repositorySelector: $s) { __typename } }"""
        try:
            return bool(self.ask(query, s=SELECTOR)["repositoryOrError"]["__typename"] == "Repository")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@contextmanager
def live_dagster(project: Path, **settings: str) -> Iterator[LiveDagster]:
    """A project folder ready to start Dagster in; everything started is stopped at the end of the block."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
    home = create_home(project / "home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
        "HOME": str(project),
        "DAGSTER_HOME": str(home),
        "DATA_DIR": str(project / "data"),
        "PYTHONWARNINGS": "ignore",
        **settings,
    }
    live = LiveDagster(project, environment, port)
    try:
        yield live
    finally:
        for process in list(live.processes):
            live.stop(process)
