"""Part 4: faults put into the system on purpose. An audit that does not see them proves nothing.

    half-scale noise     every draw has half of the scale that is charged
    kmv estimate         Laplace noise is added to the estimate of a bottom-k instead of to its capped count
    missing offset       correlated noise without the part that a month shares
    half-scale offset    that part at half of the scale that is charged; only the long form has draws enough to see it
    stale partitions     a release counts what happens to be built, so that one erasure lets in others' late events
    unenforced cap       releases go on beyond the cap that is claimed
    unenforced runs      noise calibrated to users who stay for 30 days, which late events and erasures do not respect

Each fault goes through the real pipeline, in the audit's own folders: as noise or counts that are handed to their
workspace, as a mechanism of another kind, or as caps that are not those that are claimed. Noise comes from seeds, so
that a fault is seen or missed for ever. Belongs here: the faults, and which part must see each.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from dpdau_assets.core.dp_events import merge_events, repeat_event
from dpdau_assets.core.mechanisms.calibration import mechanism_from_parameters
from dpdau_assets.core.mechanisms.correlated import CorrelatedGaussian
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.quantities import METRICS, DayRange, Metric, days_of_period
from dpdau_assets.core.release.counts import Counts, StoredCount
from dpdau_assets.evaluation.audit.claims import Change, claimed_squared_mu, short_runs, worst_pattern_days
from dpdau_assets.evaluation.audit.game import run_game
from dpdau_assets.evaluation.audit.noise_fit import fit_noise
from dpdau_assets.evaluation.audit.recorder import RecordedCounts, Recorder
from dpdau_assets.evaluation.audit.replay import overspent, replay_neighbours
from dpdau_assets.evaluation.audit.scenario_run import Release, ScenarioRun, run_scenario, run_settings
from dpdau_assets.evaluation.audit.scenarios import lean_scenario, month_scenario, only
from dpdau_assets.evaluation.audit.sources import HalfScaleNoise, LessSharedNoise, exact_noise
from dpdau_assets.operations.release.counts_snapshot import count_partitions
from dpdau_assets.operations.session.lineage import days_behind_windows
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import ReleaseSnapshot
from dpdau_assets.settings.settings import Settings

MONTH = date(2025, 2, 1)
LEVEL = 1e-5
"""Of the tests of noise: a fault must show far beyond chance."""
CONFIDENCE = 0.99
RUN_DAYS = 30
SHARED_NOISE_MONTHS = 18
NO_CAP = 100.0
CAPS = ("dau_budget_total", "wau_budget_total", "mau_budget_total", "total_budget_month", "total_budget_365d")


@dataclass(frozen=True, slots=True)
class Control:
    """One fault, and what the audit said of it.

    Attributes:
        fault: Its name.
        part: Which part had to see it.
        findings: What that part found; empty when the fault went unseen.
    """

    fault: str
    part: str
    findings: tuple[str, ...]

    @property
    def is_caught(self) -> bool:
        """Whether the fault was seen."""
        return bool(self.findings)


def half_scale_noise(settings: Settings, *, folder: Path, mechanism: str = "gaussian") -> Control:
    """Draws of half the scale, seen by the law of the noise."""
    half = HalfScaleNoise(exact_noise(1))
    scenario_run = _month_run(settings, folder, mechanism, Recorder(source=lambda _asked: half), metrics=METRICS)
    return Control(
        "half-scale noise",
        "noise fit",
        tuple(fit_noise(scenario_run, mechanism=mechanism, level=LEVEL, seed=1).findings),
    )


def half_scale_guesses(settings: Settings, *, folder: Path, mechanism: str = "gaussian", runs: int = 2000) -> Control:
    """The same, seen by guessing alone: without any knowledge of what was drawn."""
    account = _month_run(settings, folder, mechanism, Recorder()).accounts[0]
    noise = mechanism_from_parameters(account.mechanism, account.parameters)
    days = len(days_of_period(account.period))
    active = worst_pattern_days(noise, days) if isinstance(noise, CorrelatedGaussian) else days
    game = run_game(
        noise,
        [1] * active + [0] * (days - active),
        [0] * days,
        pattern="a user",
        claimed_mu=_month_mu(noise, days),
        runs=runs,
        confidence=CONFIDENCE,
        source=HalfScaleNoise(exact_noise(3)),
    )
    return Control("half-scale noise", "guessing", tuple(game.findings))


def kmv_estimate(settings: Settings, *, folder: Path) -> Control:
    """Laplace noise on a bottom-k estimate, seen by neighbouring worlds."""
    result, _ = replay_neighbours(
        settings,
        lean_scenario(5, users=900),
        ("daily", "random"),
        folder=folder,
        recorder=partial(Recorder, reader=_estimate),
        mechanism="laplace",
        sketch_impl="kmv",
        sketch_k=256,
        expected_users=300,
    )
    return Control("kmv estimate", "neighbouring worlds", tuple(result.findings))


def missing_shared_noise(settings: Settings, *, folder: Path) -> Control:
    """Correlated noise without its shared part, seen by how the fresh noise hangs together with the offset."""
    noise = exact_noise(2)
    less = defaultdict[int, LessSharedNoise](lambda: LessSharedNoise(noise))
    recorder = Recorder(source=lambda asked: less[asked.account])
    scenario_run = _month_run(settings, folder, "correlated", recorder, metrics=METRICS, months=2)
    return Control(
        "missing offset",
        "noise fit",
        tuple(fit_noise(scenario_run, mechanism="correlated", level=LEVEL, seed=1).findings),
    )


def missing_shared_noise_guesses(settings: Settings, *, folder: Path, runs: int = 2000) -> Control:
    """The same, seen by guessing: the every-day user shows what the worst pattern hides."""
    account = _month_run(settings, folder, "correlated", Recorder()).accounts[0]
    stated = mechanism_from_parameters(account.mechanism, account.parameters)
    assert isinstance(stated, CorrelatedGaussian)
    noise = _UnsharedGaussian(*astuple(stated))
    days = len(days_of_period(account.period))
    game = run_game(
        noise,
        [1] * days,
        [0] * days,
        pattern="an every-day user",
        claimed_mu=_month_mu(noise, days),
        runs=runs,
        confidence=CONFIDENCE,
        source=exact_noise(3),
    )
    return Control("missing offset", "guessing", tuple(game.findings))


def half_scale_shared_noise(settings: Settings, *, folder: Path) -> Control:
    """Offsets of half their scale, seen by the second moment of those of a year and a half, three a month."""
    noise = exact_noise(5)
    half = HalfScaleNoise(noise)
    recorder = Recorder(source=lambda asked: half if asked.is_shared else noise)
    scenario = month_scenario(month=MONTH, months=SHARED_NOISE_MONTHS, patterns={}, users=1)
    firsts = [day for day in DayRange(MONTH, scenario.start.date() - timedelta(days=2)) if day.day == 1]
    asked = [Release(DayRange.single(day)) for day in [*firsts, firsts[-1]]]
    chosen = run_settings(settings, folder / "world", series_start=MONTH, mechanism="correlated", sketch_impl="set")
    scenario_run = run_scenario((scenario.steps[0], *asked), chosen, recorder, start=scenario.start)
    fit = fit_noise(scenario_run, mechanism="correlated", level=LEVEL, seed=1)
    return Control("half-scale offset", "noise fit", tuple(each for each in fit.findings if "offsets" in each))


def stale_partitions(settings: Settings, *, folder: Path) -> Control:
    """Counting what happens to be built, seen by neighbouring worlds."""
    result, _ = replay_neighbours(
        settings,
        lean_scenario(6, users=200),
        ("erased",),
        folder=folder,
        recorder=_StaleRecorder,
        mechanism="gaussian",
        sketch_impl="set",
    )
    return Control("stale partitions", "neighbouring worlds", tuple(result.findings))


def unenforced_cap(settings: Settings, *, folder: Path) -> Control:
    """Releases beyond the cap, seen by recomputing what was spent from the stored events."""
    scenario = lean_scenario(7, users=20, days=12)
    chosen = run_settings(
        settings,
        folder / "world",
        series_start=scenario.series_start,
        mechanism="laplace",
        sketch_impl="set",
        **dict.fromkeys(CAPS, NO_CAP),
    )
    scenario_run = run_scenario(scenario.steps, chosen, Recorder(), start=scenario.start)
    return Control("unenforced cap", "recomputed losses", tuple(overspent(scenario_run, settings)))


def unenforced_runs(changes: Sequence[Change]) -> Control:
    """Patterns that noise for long stays would not cover, seen in what users really moved."""
    found = short_runs(changes, metric="mau", at_least=RUN_DAYS)
    return Control("unenforced runs", "neighbouring worlds", tuple(found))


def _month_run(
    settings: Settings,
    folder: Path,
    mechanism: str,
    recorder: Recorder,
    *,
    metrics: Sequence[Metric] = ("dau",),
    months: int = 1,
) -> ScenarioRun:
    """February and perhaps March, exact counts, a few users."""
    scenario = month_scenario(month=MONTH, months=months, patterns={})
    chosen = run_settings(settings, folder / "world", series_start=MONTH, mechanism=mechanism, sketch_impl="set")
    asked = DayRange(MONTH, scenario.start.date() - timedelta(days=2))
    return run_scenario(only(scenario, metrics, asked).steps, chosen, recorder, start=scenario.start)


def _month_mu(noise: Mechanism, releases: int) -> float:
    """The claim of a month: everything released, and the opening."""
    return math.sqrt(
        claimed_squared_mu(merge_events(noise.shared_noise_charge(), repeat_event(noise.event(), releases)))
    )


def _estimate(stored: StoredCount, _threshold: int) -> int:
    """What an earlier implementation of this idea added noise to."""
    return stored or 0 if stored is None or isinstance(stored, int) else round(stored.estimate())


class _StaleRecorder(Recorder):
    """Hands draws the counts of what happens to be built."""

    def counts(self, snapshot: ReleaseSnapshot) -> Counts:
        days = days_behind_windows(
            DayRange(snapshot.days[0], snapshot.days[-1]), snapshot.workspace.settings.mau_window_days
        )
        with lake_session(snapshot.workspace, days) as session:
            return RecordedCounts(count_partitions(session, snapshot.days, snapshot.metrics), self)


class _UnsharedGaussian(CorrelatedGaussian):
    """Correlated noise whose draws lack the part that a month shares."""

    def draw(self, value: int, source: NoiseSource, *, shared_noise: int | None = None) -> int:
        return super().draw(value, source, shared_noise=None if shared_noise is None else 0)


ControlRun = Callable[..., Control]
"""Takes the settings and an empty folder."""
CONTROLS: tuple[ControlRun, ...] = (
    half_scale_noise,
    half_scale_guesses,
    kmv_estimate,
    missing_shared_noise,
    missing_shared_noise_guesses,
    stale_partitions,
    unenforced_cap,
)
"""Every fault that is put into a run of its own, but for `half_scale_shared_noise`, which takes longer."""
