"""Commands as processes of their own that may be killed: cold, by a new interpreter, or warm, by a forking server.

A warm process is a real one with its own memory, descriptors and locks; only the imports are done already, so that a
campaign of hundreds fits into minutes. The server is a program (run this module) that forks for every line it reads:

    server -> keeper -> the process           the keeper writes down its number, waits for it, writes down its end
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

from dpdau_assets.settings.settings import child_environment
from dpdau_tests import REPOSITORY
from dpdau_tests.support.killed import NOWHERE, launch

PATIENCE_SECONDS = 240
POLL_SECONDS = 0.004
PRELOADED = (
    "opendp.prelude",
    "dpdau_assets.cli.main",
    "dpdau_assets.cli.commands.ingest",
    "dpdau_assets.cli.commands.erase",
    "dpdau_assets.cli.commands.release",
    "dpdau_assets.cli.commands.budget",
    "dpdau_assets.cli.commands.status",
    "dpdau_assets.operations.ingest.stage",
    "dpdau_assets.operations.release.publish_release",
    "dpdau_assets.operations.budget.snapshot",
    "dpdau_assets.operations.recover.rebuild",
    "dpdau_assets.operations.erase.request",
    "dpdau_assets.operations.pipeline.trusted_counts",
)
BUDGETS = ("dp_accounting.pld.privacy_loss_distribution",)
"""For commands that tell of budgets."""
DAGSTER = (*BUDGETS, "dagster", "dagster._cli.job", "dpdau_assets.orchestration.build")

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code; negative for a signal.
        out: Standard output.
        err: Standard error.
        died_at: The point at which it was killed, None when it was not.
        counts: How often it passed each point.
    """

    code: int
    out: str
    err: str
    died_at: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Running:
    """A process under way in a project folder.

    Attributes:
        files: Where its streams, its record and its end are written; the suffix tells which.
        started: When, by the monotonic clock.
        cold: The process, when it was not started by the server.
    """

    files: Path
    started: float
    cold: subprocess.Popen[bytes] | None = None

    def kill_after(self, seconds: float) -> Ended:
        """Kills the process that long after its start, unless it has ended by then."""
        time.sleep(max(0.0, self.started + seconds - time.monotonic()))
        number = self.cold.pid if self.cold else int(self._text(".pid", is_awaited=True))
        if self.code() is None:
            os.kill(number, signal.SIGKILL)
        return self.wait()

    def code(self) -> int | None:
        """The exit code, None while it runs."""
        if self.cold is not None:
            return self.cold.poll()
        text = self._text(".code")
        return int(text) if text else None

    def wait(self, seconds: float = PATIENCE_SECONDS) -> Ended:
        """Waits until it has ended."""
        deadline = time.monotonic() + seconds
        while (code := self.code()) is None:
            assert time.monotonic() < deadline, f"a process did not end within {seconds:.0f} s: {self._text('.err')}"
            time.sleep(POLL_SECONDS)
        document = json.loads(self._text(".record") or "{}")
        return Ended(code, self._text(".out"), self._text(".err"), document.get("died_at"), document.get("counts", {}))

    def _text(self, suffix: str, *, is_awaited: bool = False) -> str:
        path = self.files.with_suffix(suffix)
        while is_awaited and not (path.exists() and path.stat().st_size):
            time.sleep(POLL_SECONDS)
        return path.read_text(errors="replace") if path.exists() else ""


def start(
    folder: Path, command: Sequence[str], *, point: str = NOWHERE, nth: int = 0, is_warm: bool = True, stdin: str = ""
) -> Running:
    """Starts a command in a project folder, to be killed at the `nth` hit of `point`.

    Args:
        folder: The project; its data folder is `data`.
        command: `dpdau ...` or `dagster ...`.
        point: One of `killed.POINTS`, or `-`.
        nth: Which hit of the point, from 1.
        is_warm: Whether the imports are done already.
        stdin: What the command reads.
    """
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    files = logs / f"{next(_numbers):06}-{os.getpid()}"
    files.with_suffix(".in").write_text(stdin)
    environment = {**child_environment(), "DAGSTER_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY)}
    environment["PYTHONWARNINGS"] = "ignore"
    began = time.monotonic()
    if is_warm:
        request = {"folder": str(folder), "files": str(files), "environment": environment}
        _ask(_server(_imports_of(command)), {**request, "point": point, "nth": nth, "command": list(command)})
        return Running(files, began)
    launcher = [sys.executable, "-m", "dpdau_tests.support.killed", str(files.with_suffix(".record"))]
    with (
        files.with_suffix(".in").open("rb") as read,
        files.with_suffix(".out").open("wb") as out,
        files.with_suffix(".err").open("wb") as err,
    ):
        arguments = [*launcher, point, str(nth), "--", *command]
        process = subprocess.Popen(arguments, cwd=folder, env=environment, stdin=read, stdout=out, stderr=err)
    return Running(files, began, process)


def run(folder: Path, command: Sequence[str], *, point: str = NOWHERE, nth: int = 0, stdin: str = "") -> Ended:
    """As `start`, and returns when the process has ended."""
    return start(folder, command, point=point, nth=nth, stdin=stdin).wait()


def _imports_of(command: Sequence[str]) -> tuple[str, ...]:
    """What a command loads beside what all of them do."""
    if command[0] == "dagster":
        return DAGSTER
    return BUDGETS if "--json" in command else ()


@cache
def _server(imports: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """The server with these imports, started once; it ends with the tests."""
    command = [sys.executable, "-m", "dpdau_tests.support.processes", *imports]
    environment = {**child_environment(), "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=REPOSITORY)
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[bytes]) -> None:
    server.communicate()


def _ask(server: subprocess.Popen[bytes], request: Mapping[str, object]) -> None:
    assert server.stdin is not None and server.poll() is None
    server.stdin.write(json.dumps(request).encode() + b"\n")
    server.stdin.flush()


def serve() -> None:
    """Forks a keeper for every request on standard input, until that ends."""
    for name in (*PRELOADED, *sys.argv[1:]):
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers need nobody
    while line := sys.stdin.buffer.raw.readline():
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _keep(json.loads(line))
            os._exit(0)


def _keep(request: dict[str, object]) -> None:
    files = Path(str(request["files"]))
    number = os.fork()
    if number == 0:
        _become(request, files)
    files.with_suffix(".pid").write_text(str(number))
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    files.with_suffix(".end").write_text(str(code))
    files.with_suffix(".end").rename(files.with_suffix(".code"))


def _become(request: dict[str, object], files: Path) -> None:
    """The process itself: its folder, environment and streams, then the command; never returns."""
    code = 70
    try:
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(str(request["folder"]))
        for number, (end, flags) in enumerate(((".in", os.O_RDONLY), (".out", os.O_WRONLY), (".err", os.O_WRONLY))):
            opened = os.open(files.with_suffix(end), flags | os.O_CREAT, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it stays open as long as the process lives
        launch(files.with_suffix(".record"), str(request["point"]), int(str(request["nth"])), request["command"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
