"""One audit from beginning to end: which runs, draws and games each form makes.

Belongs here: the two forms, and the order of the parts. Does not belong here: any test (`replay`, `noise_fit`, `game`,
`controls`).
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from dpdau_assets.core.mechanisms.above_threshold import SMALLEST_SKETCH as SMALLEST_SKETCH_OF_A_SEARCH
from dpdau_assets.core.mechanisms.calibration import mechanism_from, mechanism_from_parameters
from dpdau_assets.core.mechanisms.joint import joint_from_parameters
from dpdau_assets.core.mechanisms.joint_shape import IntegerRow
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import METRICS, days_of_period, period_of
from dpdau_assets.core.release.release import require_releasable_sketch
from dpdau_assets.core.sketches.apache import is_installed
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.evaluation.audit.claims import claimed_squared_mu
from dpdau_assets.evaluation.audit.controls import (
    CONTROLS,
    Control,
    ControlRun,
    half_scale_shared_noise,
    unenforced_runs,
)
from dpdau_assets.evaluation.audit.game import GameResult, run_game, run_joint_game
from dpdau_assets.evaluation.audit.noise_fit import NoiseFit, fit_noise
from dpdau_assets.evaluation.audit.recorder import Reading, Recorder
from dpdau_assets.evaluation.audit.replay import Replay, replay_neighbours
from dpdau_assets.evaluation.audit.scenario_run import KEPT_SETTINGS, run_scenario, run_settings, without
from dpdau_assets.evaluation.audit.scenarios import TARGETS, Scenario, busy_scenario, month_scenario, only
from dpdau_assets.evaluation.audit.sources import secure_noise
from dpdau_assets.evaluation.audit.verdict import Audit
from dpdau_assets.operations.session.progress import Progress, no_progress
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM
from dpdau_assets.settings.settings import Settings

MONTH = date(2025, 1, 1)
CONTROL_SETTINGS = Settings()
"""Faults are put into the defaults: that the audit sees them does not depend on the parameters in force."""
SMALLEST_SKETCH, LARGEST_SKETCH = 256, 65_536
EXPECTED_SHARE, ACTUAL_SHARE, MOST_USERS = 1.2, 2.7, 5_000
"""Users expected and there, as shares of a sketch's size: it is sampled, and full where users allow it."""
WORST_DAYS = 18
"""Days of a month on which a user must count to be guessed best under an offset shared by its releases."""
EXACT_USERS = 250


@dataclass(frozen=True, slots=True)
class Form:
    """How much an audit does.

    Attributes:
        name: `short` or `long`.
        pairs: Mechanisms and sketches of part 1, with the users left out; None takes MECHANISM or SKETCH_IMPL.
        scenarios: Different scenarios for each of them.
        months: Months with real noise.
        mechanisms: Mechanisms of parts 2 and 3; None takes MECHANISM.
        runs: Months drawn on each side of a game.
        confidence: Of a game's bound.
        level: Largest probability of a false alarm of a test of noise.
        controls: Faults put in on purpose; without any, part 4 is left out.
        searched: Users left out of a run that has to search for its first thresholds; none for no such run.
    """

    name: str
    pairs: tuple[tuple[str | None, str | None, tuple[str, ...]], ...]
    scenarios: int
    months: int
    mechanisms: tuple[str | None, ...]
    runs: int
    confidence: float
    level: float
    controls: tuple[ControlRun, ...] = CONTROLS
    searched: tuple[str, ...] = ()


def _all_pairs() -> list[tuple[str, str]]:
    return [(mechanism, sketch) for mechanism, sketches in SKETCHES_OF_MECHANISM.items() for sketch in sketches]


SHORT = Form(
    name="short",
    pairs=((None, "set", ("erased", "short")), (None, None, ("daily",))),
    scenarios=1,
    months=1,
    mechanisms=(None,),
    runs=1000,
    confidence=0.999,
    level=1e-6,
)
"""Some 23 s of processor time before the faults: what `make test` runs."""
LONG = Form(
    name="long",
    pairs=tuple((mechanism, sketch, TARGETS) for mechanism, sketch in _all_pairs()),
    scenarios=1,
    months=6,
    mechanisms=("gaussian", "laplace", "correlated", "joint"),
    runs=5000,
    confidence=0.99,
    level=1e-5,
    controls=(*CONTROLS, half_scale_shared_noise),
    searched=("daily", "erased", "random"),
)
"""Every mechanism with every sketch that it may release."""


def run_audit(settings: Settings, *, form: Form = SHORT, seed: int = 0, progress: Progress = no_progress) -> Audit:
    """Audits the privacy parameters of `settings` in temporary folders.

    Args:
        settings: The parameters in force; data folder and secrets in them are not used.
        form: How much to do.
        seed: Selects the synthetic users' activity.
        progress: Told how many parts are done.

    Raises:
        DpdauError: The pipeline failed where it must not.
    """
    began, done = time.monotonic(), 0
    total = len(form.pairs) * form.scenarios + 2 * len(form.mechanisms) + len(form.controls) + bool(form.searched)
    replays: list[Replay] = []
    fits: list[NoiseFit] = []
    games: list[tuple[str, GameResult]] = []
    controls: list[Control] = []

    def step() -> None:
        nonlocal done
        progress("audit", done, total)
        done += 1

    with tempfile.TemporaryDirectory(prefix="dpdau-audit-") as name:
        folder = Path(name)
        for mechanism, sketch, users in _supported(settings, form):
            for scenario in range(form.scenarios):
                step()
                replays.append(
                    _replay(
                        settings, mechanism, sketch, users, scenario=seed * form.scenarios + scenario, folder=folder
                    )
                )
        if form.searched:
            step()
            replays.append(replay_search(settings, form.searched, seed=seed, folder=folder))
        for mechanism in dict.fromkeys(chosen or settings.mechanism for chosen in form.mechanisms):
            step()
            month = _Month(settings, mechanism, form, folder)
            fits.append(fit_noise(month.scenario_run, mechanism=mechanism, level=form.level, seed=form.runs))
            step()
            games += [(mechanism, game) for game in month.games()]
        for control in form.controls:
            step()
            controls.append(control(CONTROL_SETTINGS, folder=folder))
    controls += [_runs_control(replays)] if form.controls else []
    configuration = {key: _plain(getattr(settings, key)) for key in KEPT_SETTINGS}
    seconds = time.monotonic() - began
    return Audit(form.name, configuration, seconds, tuple(replays), tuple(fits), tuple(games), tuple(controls))


def _supported(settings: Settings, form: Form) -> list[tuple[str, str, tuple[str, ...]]]:
    """The pairs of a form that can be released here, each once."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for mechanism, sketch, users in form.pairs:
        pair = mechanism or settings.mechanism, sketch or settings.sketch_impl
        if pair in found or (pair[1] == "theta" and not is_installed()):
            continue
        if pair[1] in SKETCHES_OF_MECHANISM[pair[0]]:
            found[pair] = users
    return [(mechanism, sketch, users) for (mechanism, sketch), users in found.items()]


def _replay(
    settings: Settings, mechanism: str, sketch: str, users: tuple[str, ...], *, scenario: int, folder: Path
) -> Replay:
    size = 0 if sketch == "set" else _smallest_size(settings, mechanism, sketch)
    made = min(MOST_USERS, round(ACTUAL_SHARE * size)) if size else EXACT_USERS
    small: dict[str, Any] = {"sketch_k": size, "expected_users": round(EXPECTED_SHARE * size)} if size else {}
    busy = busy_scenario(scenario + 1, users=made)
    return replay_neighbours(settings, busy, users, folder=folder, mechanism=mechanism, sketch_impl=sketch, **small)[0]


def replay_search(settings: Settings, users: tuple[str, ...], *, seed: int, folder: Path) -> Replay:
    """Runs of kmv under correlated noise without a size known beforehand: first thresholds are searched for."""
    size = max(SMALLEST_SKETCH_OF_A_SEARCH, _smallest_size(settings, "correlated", "kmv"))
    scenario = busy_scenario(seed + 1, users=MOST_USERS)
    named: dict[str, Any] = {"mechanism": "correlated", "sketch_impl": "kmv", "sketch_k": size, "expected_users": None}
    found, _ = replay_neighbours(settings, scenario, users, folder=folder, **named)
    return replace(found, sketch="kmv, first search")


def _smallest_size(settings: Settings, mechanism: str, sketch: str) -> int:
    """The smallest sketch that every metric may be released from under this noise."""
    releases = len(days_of_period(period_of(MONTH))) + settings.revision_reserve
    size = SMALLEST_SKETCH
    while size < LARGEST_SKETCH:
        try:
            for metric in METRICS:
                noise = mechanism_from(
                    mechanism,
                    epsilon=settings.epsilon_of(metric),
                    delta=settings.delta,
                    plan=PeriodPlan(releases, settings.cap_of(metric), settings.delta),
                )
                require_releasable_sketch(noise, k=size, impl=sketch)
        except ConfigurationError:
            size *= 2
        else:
            break
    return size


def _runs_control(replays: list[Replay]) -> Control:
    """Whether the user who stays a few days only is seen as one."""
    changes = [
        change for each in replays[:1] for one in each.neighbours if one.user == "short" for change in one.changes
    ]
    return unenforced_runs(changes)


class _Month:
    """Months released with real noise, and the same without the users that an attacker looks for."""

    def __init__(self, settings: Settings, mechanism: str, form: Form, folder: Path) -> None:
        self._form, self._folder = form, folder
        self._settings = run_settings(
            settings, folder / "world", series_start=MONTH, mechanism=mechanism, sketch_impl="set"
        )
        days = len(days_of_period(period_of(MONTH)))
        self._patterns = {"every-day": range(days), "worst": range(WORST_DAYS)}
        self._scenario = month_scenario(month=MONTH, months=form.months, patterns=self._patterns)
        self.scenario_run = run_scenario(
            self._scenario.steps, self._settings, Recorder(source=None), start=self._scenario.start
        )

    def games(self) -> list[GameResult]:
        """One game for each user whose absence the mechanism could show."""
        if not self.scenario_run.accounts:
            return []  # nothing was released, which the fit of the noise reports
        account = self.scenario_run.accounts[0]
        is_shared = account.mechanism in ("correlated", "joint")
        return [self._game(user) for user in self._patterns if is_shared or user == "every-day"]

    def _game(self, user: str) -> GameResult:
        account = self.scenario_run.accounts[0]
        metrics = METRICS if account.mechanism == "joint" else METRICS[:1]
        asked = only(_first_ask(self._scenario), metrics, days_of_period(period_of(MONTH)))
        alone = run_scenario(without(asked.steps, user), self._settings, Recorder(), start=self._scenario.start)
        sides = _both_sides(self.scenario_run.readings, alone.readings)
        stated: dict[str, Any] = {
            "pattern": user,
            "claimed_mu": math.sqrt(claimed_squared_mu(self.scenario_run.spent[account.account])),
            "runs": self._form.runs,
            "confidence": self._form.confidence,
            "source": secure_noise(),
        }
        if account.mechanism == "joint":
            rows = [[_row(side, start) for start in range(0, len(side), len(METRICS))] for side in sides]
            return run_joint_game(joint_from_parameters(account.parameters), rows[0], rows[1], **stated)
        noise = mechanism_from_parameters(account.mechanism, account.parameters)
        return run_game(noise, sides[0], sides[1], **stated)


def _both_sides(everybody: Sequence[Reading], alone: Sequence[Reading]) -> tuple[list[int], list[int]]:
    """The numbers of the windows that both runs read, in the order in which they were drawn."""
    others = {reading.asked: reading.value for reading in alone}
    shared = [reading for reading in everybody if reading.asked in others]
    return [reading.value for reading in shared], [others[reading.asked] for reading in shared]


def _first_ask(scenario: Scenario) -> Scenario:
    """The scenario without asking for everything a second time."""
    return Scenario(scenario.steps[:-1], scenario.series_start, scenario.start)


def _row(numbers: Sequence[int], start: int) -> IntegerRow:
    """DAU, WAU and MAU of one joint draw."""
    first, second, third = numbers[start : start + len(METRICS)]
    return first, second, third


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
