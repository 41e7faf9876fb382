"""Every mechanism with every sketch at every budget over one stream, through the real release path: what it is worth.

Belongs here: how much an evaluation does, the stream it takes, and the order of its parts. Does not belong here: one
combination (`trials`), its numbers (`measures`), files (`results`), figures (`plots`).

Everything happens in temporary folders made as synthetic, where noise may be seeded: the same configuration gives the
same numbers, times apart, and over a file but for sampled counts. No data folder is read, no budget of one is spent.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dpdau_assets import __version__
from dpdau_assets.core.accounting.pld import PldAccountant
from dpdau_assets.core.dp_events import DiscreteLaplaceEvent, repeat_event
from dpdau_assets.errors import ConfigurationError, InputError
from dpdau_assets.evaluation.accuracy.grid import (
    AS_SET,
    LONG_HORIZON,
    RELEASED,
    SKETCHES,
    Budget,
    Cell,
    Unsupported,
    grid,
    privacy_of,
)
from dpdau_assets.evaluation.accuracy.horizon_rows import horizon_rows, over_files
from dpdau_assets.evaluation.accuracy.measures import points_of, rows_of
from dpdau_assets.evaluation.accuracy.prepared_folders import (
    SHARED_SETTINGS,
    BuiltFolder,
    PreparedFolder,
    Source,
    build_folder,
    prepare_folder,
)
from dpdau_assets.evaluation.accuracy.rows import Evaluation, Point, Row
from dpdau_assets.evaluation.accuracy.trials import Trial, noise_seed, run_trial
from dpdau_assets.evaluation.streams.simulate import SimulatedStream
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.settings.settings import Settings

SIMULATED_LAST = date(2025, 1, 31)
"""Last day of the simulated stream: a whole month is released, and a change of the salt lies before it."""
HISTORY_DAYS = 30
"""Days of the simulated stream before the released ones: every window is full."""
SIMULATED_SALT = "the salt of a simulated stream"
P_ACTIVE, DELETE_RATE = 0.18, 0.001
"""Of the simulated stream: the share of its users active on a day, and of these who ask to be erased."""
LONGEST_MONTH = 31
WARM_UP = repeat_event(DiscreteLaplaceEvent(1.0), 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much an evaluation does; public.

    Attributes:
        seed: Of the simulated stream and of the noise.
        mechanisms: Mechanisms, of `grid.RELEASED` and `grid.LONG_HORIZON`.
        sketches: Sketches.
        budgets: Budgets.
        days: How many of the stream's last days to release.
        timed_days: How many of these one by one, and timed.
        repeats: How often each combination is run, each time with other noise.
        users: Users of the simulated stream.
        sketch_k: SKETCH_K: smaller than the default, so that a stream of this size is sampled.
    """

    seed: int
    mechanisms: tuple[str, ...] = (*RELEASED, *LONG_HORIZON)
    sketches: tuple[str, ...] = SKETCHES
    budgets: tuple[Budget, ...] = (AS_SET, Budget("cap", 1.0), Budget("cap", 3.0), Budget("cap", 6.0))
    days: int = 31
    timed_days: int = 4
    repeats: int = 1
    users: int = 20_000
    sketch_k: int = 4096


def quick(plan: Plan) -> Plan:
    """The same in seconds: fewer days, users and budgets; for trying it out."""
    return replace(plan, budgets=plan.budgets[:2], days=min(plan.days, 6), timed_days=2, repeats=1, users=400)


def run_evaluation(
    settings: Settings,
    plan: Plan,
    *,
    source: Source | None = None,
    allow: Callable[[dict[str, Any]], None] = lambda _configuration: None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Runs every combination of a plan over a stream.

    Args:
        settings: Budgets and privacy parameters in force, NOISE_SOURCE among them; data folder and secrets are not
            used.
        plan: How much to do.
        source: A stream in a file; None simulates one.
        allow: Called with the configuration before anything is run; raises to refuse it.
        progress: Told how many trials are done.

    Raises:
        InputError: The stream cannot be used.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dpdau-evaluation-") as name:
        folder = Path(name)
        stream = source or _simulated(plan, folder / "simulated.jsonl")
        configuration = configuration_of(settings, plan, stream, is_simulated=source is None)
        allow(configuration)
        prepared = prepare_folder(settings, stream, folder / "staged", days=plan.days)
        run = _Run(settings, plan, prepared, progress)
        run.run()
        run.run_horizons(is_simulated=source is None)
    return Evaluation(
        configuration, tuple(run.rows), tuple(run.points), tuple(run.unsupported), time.monotonic() - begun
    )


def configuration_of(settings: Settings, plan: Plan, source: Source, *, is_simulated: bool) -> dict[str, Any]:
    """Everything that the numbers of an evaluation depend on, JSON types only; times depend on the machine besides.

    Args:
        settings: The settings in force.
        plan: How much to do.
        source: The stream.
        is_simulated: Whether it was made for this evaluation.

    Raises:
        InputError: The stream cannot be read.
    """
    try:
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{source.path} cannot be read: {error.strerror}", hint="check --stream") from None
    made = {"users": plan.users, "p_active": P_ACTIVE, "delete_rate": DELETE_RATE, "last_day": str(SIMULATED_LAST)}
    columns = {"user": source.mapping.user, "time": source.mapping.time, "op": source.mapping.op}
    given = {"format": source.source_format, "columns": columns}
    kept = {name: getattr(settings, name) for name in SHARED_SETTINGS}
    return {
        "version": __version__,
        "stream": {"name": source.path.name, "sha256": digest, **(made if is_simulated else given)},
        "seed": plan.seed,
        "mechanisms": list(plan.mechanisms),
        "sketches": list(plan.sketches),
        "budgets": [budget.name for budget in plan.budgets],
        "days": plan.days,
        "timed_days": plan.timed_days,
        "repeats": plan.repeats,
        "sketch_k": plan.sketch_k,
        "expected_users": settings.expected_users,
        "noise_source": settings.noise_source,
        "settings": {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()},
    }


def _stream_of(plan: Plan) -> SimulatedStream:
    return SimulatedStream(plan.seed, plan.users, P_ACTIVE, DELETE_RATE)


def _simulated(plan: Plan, path: Path) -> Source:
    """The stream of independent users that is taken when none is given."""
    stream = _stream_of(plan)
    days = range(plan.days + HISTORY_DAYS - 1, -1, -1)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(stream.lines(SIMULATED_LAST - timedelta(days=back)) for back in days)
    return Source(path, salt=SIMULATED_SALT)


class _Run:
    """An evaluation under way."""

    def __init__(self, settings: Settings, plan: Plan, prepared: PreparedFolder, progress: Progress) -> None:
        self._settings, self._plan, self._prepared, self._progress = settings, plan, prepared, progress
        self._cells, refused = grid(plan.mechanisms, plan.sketches, plan.budgets, sketch_k=plan.sketch_k)
        self._done, self._total = 0, len(self._cells) * plan.repeats
        self._rows: dict[Cell, list[Row]] = {}
        self._points: dict[Cell, list[Point]] = {}
        self._beside: tuple[list[Row], list[Point]] = ([], [])
        self.unsupported: list[Unsupported] = refused

    @property
    def rows(self) -> list[Row]:
        """Rows in the order of the grid."""
        return [*(row for cell in self._cells for row in self._rows.get(cell, [])), *self._beside[0]]

    @property
    def points(self) -> list[Point]:
        """Released values in the order of the grid."""
        return [*(point for cell in self._cells for point in self._points.get(cell, [])), *self._beside[1]]

    def run(self) -> None:
        """Runs every combination, sketch by sketch."""
        PldAccountant().bound(WARM_UP, delta=self._settings.delta)  # loaded at first use, which is not to be timed
        for sketch in dict.fromkeys(cell.sketch for cell in self._cells):
            built = build_folder(
                self._prepared,
                sketch_impl=sketch,
                sketch_k=self._plan.sketch_k,
                expected_users=self._settings.expected_users or (self._stated_users() if sketch == "theta" else None),
            )
            for cell in (cell for cell in self._cells if cell.sketch == sketch):
                try:
                    trials = [self._trial(built, cell, repeat) for repeat in range(self._plan.repeats)]
                except ConfigurationError as refusal:
                    self.unsupported.append(Unsupported(cell.mechanism, cell.sketch, cell.budget.name, refusal.message))
                    continue
                self._rows[cell] = rows_of(cell, built, trials)
                self._points[cell] = points_of(cell, self._prepared.exact, trials[0])
            shutil.rmtree(built.folder)
        self._progress("evaluate", self._total, self._total)

    def run_horizons(self, *, is_simulated: bool) -> None:
        """Runs the mechanisms that the release path refuses, on the series of the simulated stream."""
        plan, mechanisms = self._plan, [name for name in self._plan.mechanisms if name in LONG_HORIZON]
        if not is_simulated:
            self.unsupported += over_files(mechanisms)
        elif mechanisms:
            self._beside = horizon_rows(
                _stream_of(plan),
                self._prepared.days,
                self._prepared.exact,
                mechanisms=mechanisms,
                budgets=plan.budgets,
                settings=self._settings,
                seed=plan.seed,
                repeats=plan.repeats,
            )

    def _trial(self, built: BuiltFolder, cell: Cell, repeat: int) -> Trial:
        self._progress("evaluate", self._done, self._total)
        self._done += 1
        releases = LONGEST_MONTH + self._settings.revision_reserve
        privacy = privacy_of(cell, self._settings, releases=releases)
        seed = noise_seed(self._plan.seed, cell, repeat)
        return run_trial(built, cell, privacy, seed=seed, timed_days=self._plan.timed_days)

    def _stated_users(self) -> int:
        """The largest exact count to one significant digit: theta keeps everybody unless it is told a size."""
        largest = max(1, *self._prepared.exact.values())
        unit = int(10 ** int(math.log10(largest)))
        return round(largest / unit) * unit


def chosen_budgets(caps: Sequence[float], epsilons: Sequence[float]) -> tuple[Budget, ...]:
    """The settings' budget, and those asked for."""
    return (
        AS_SET,
        *(Budget("cap", value) for value in dict.fromkeys(caps)),
        *(Budget("epsilon", value) for value in dict.fromkeys(epsilons)),
    )
