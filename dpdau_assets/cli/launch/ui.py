"""What `make ui` runs: Dagster's pages, and its daemon unless one already works on the same home.

It opens your own data folder once there is one, the demo until then, the demo also when it is asked for.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from dpdau_assets.cli.launch.demo import FOLDER
from dpdau_assets.cli.main import guarded, leave
from dpdau_assets.cli.output import say
from dpdau_assets.errors import OperatorError
from dpdau_assets.settings.settings import (
    WORKSPACE_FILE,
    child_environment,
    dagster_home,
    load_settings,
    project_root,
)

STOP_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, and end the process as the command line does."""
    parser = argparse.ArgumentParser(prog="make ui", description=__doc__)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args(arguments)
    leave(guarded(lambda: run(is_demo=options.demo, port=options.port), as_json=False))


def run(*, is_demo: bool, port: int) -> int:
    """Start what is missing, wait, and stop it again at an interrupt."""
    from dpdau_assets.orchestration.automation.heartbeat import is_daemon_alive
    from dpdau_assets.orchestration.instance.home import create_home

    folder, home, environment = choose_home(project_root(), is_demo=is_demo)
    create_home(home)
    tools = Path(sys.executable).parent
    commands = [[str(tools / "dagster-webserver"), "-w", WORKSPACE_FILE, "-h", "127.0.0.1", "-p", str(port)]]
    if is_daemon_alive(home, now=datetime.now(UTC)):
        say("a daemon works on this home already")
    else:
        commands.append([str(tools / "dagster-daemon"), "run", "-w", WORKSPACE_FILE])
    say(f"Dagster on {home}: http://127.0.0.1:{port} in about 20 seconds; stop with Ctrl-C")
    return run_together(commands, folder=folder, environment=environment)


def choose_home(root: Path, *, is_demo: bool) -> tuple[Path, Path, Mapping[str, str]]:
    """The folder to work in, the Dagster home and the environment.

    Raises:
        OperatorError: There is neither a data folder nor a demo.
    """
    from dpdau_assets.storage.lake.layout import Layout

    demo = root / FOLDER
    has_demo = (demo / WORKSPACE_FILE).is_file()
    if not is_demo:
        settings = load_settings()
        if Layout(settings.root).ledger_path.is_file() or settings.database_url or not has_demo:
            home = dagster_home(settings)
            return root, home, child_environment(keep_settings=True, DAGSTER_HOME=str(home))
    if not has_demo:
        raise OperatorError("there is no demo yet", hint="run `make demo` first")
    home = demo / "dagster"
    return demo, home, child_environment(DAGSTER_HOME=str(home))


def run_together(commands: Sequence[Sequence[str]], *, folder: Path, environment: Mapping[str, str]) -> int:
    """Run all commands until one ends or we are told to stop; 0 after a stop, else 1."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    running = [subprocess.Popen(command, cwd=folder, env=dict(environment)) for command in commands]
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        raise OperatorError("a Dagster process ended by itself", hint="its last lines are above")
    except KeyboardInterrupt:
        return 0
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    main()
