"""Run as a program by the tests: processes that ask for releases, some of which are killed on the way.

    python -m dpdau_tests.support.release_process crowd FOLDER PROCESSES REQUESTS DAYS
    python -m dpdau_tests.support.release_process die FOLDER POINT [MECHANISM]

`crowd` forks after importing everything and before opening anything; each process writes what it was told, as JSON.
`die` ends itself by SIGKILL at a point of the release path.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import DiscreteLaplaceEvent
from dpdau_assets.core.mechanisms.samplers import SecureNoise
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.release import publish_release
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.storage.ledger import accounts, releases
from dpdau_tests.support.release_folders import NEW_YEAR, open_folder


def crowd(folder: Path, processes: int, requests: int, days: int, **overrides: Any) -> None:
    """Forks `processes` that each ask `requests` times for a random metric and day; returns when all have ended.

    The parent draws before it forks and loads the tightest bound when budgets are tight: what a fork must not copy, and
    what it need not load again.
    """
    SecureNoise().discrete_gaussian(5.0)
    if any(name.endswith("budget_total") or name == "mechanism" for name in overrides):
        PldAccountant().bound(((DiscreteLaplaceEvent(2.5), 2),), delta=1e-6)
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            _ask(folder, number, requests, days, overrides)
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit(1)


def _ask(folder: Path, number: int, requests: int, days: int, overrides: dict[str, Any]) -> None:
    workspace, choice, answers = open_folder(folder, **overrides), random.Random(number), []
    for _ in range(requests):
        metric, day = choice.choice(METRICS), NEW_YEAR + timedelta(days=choice.randrange(days))
        for result in publish_releases(workspace, (metric,), DayRange.single(day)).results:
            answers.append([result.metric, result.day.isoformat(), result.revision, result.drawn])
    (folder / f"answers-{number}.json").write_text(json.dumps(answers))


def die(folder: Path, point: str, mechanism: str = "gaussian") -> None:
    """Releases one value and is killed: with the offset's key made, around the charge, the draw or the commit."""
    workspace = open_folder(folder, mechanism=mechanism)

    def kill(*_args: Any, **_named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if point == "after key":
        accounts.set_sealed_offset = kill  # type: ignore[assignment]
    elif point == "before charge":
        accounts.insert_charge = kill  # type: ignore[assignment]
    elif point == "after charge":
        releases.insert_release = kill  # type: ignore[assignment]
    elif point == "before commit":
        whole = releases.insert_release

        def stored_then_killed(*args: Any, **named: Any) -> Any:
            whole(*args, **named)
            kill()

        releases.insert_release = stored_then_killed  # type: ignore[assignment]
    elif point == "after commit":
        publish_release.BudgetBook.charged = kill  # type: ignore[method-assign]
    publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))


if __name__ == "__main__":
    if sys.argv[1] == "crowd":
        crowd(Path(sys.argv[2]), *(int(argument) for argument in sys.argv[3:6]), **json.loads(sys.argv[6]))
    else:
        die(Path(sys.argv[2]), *sys.argv[3:])
