"""The audit passes on the system as it is, and sees every fault that is put into it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.evaluation.audit.claims import Change
from dpdau_assets.evaluation.audit.controls import (
    CONTROLS,
    Control,
    ControlRun,
    half_scale_shared_noise,
    unenforced_runs,
)
from dpdau_assets.evaluation.audit.recorder import Recorder
from dpdau_assets.evaluation.audit.replay import replay_neighbours
from dpdau_assets.evaluation.audit.run import LONG, SHORT, replay_search, run_audit
from dpdau_assets.evaluation.audit.scenario_run import Erase, Ingest, without
from dpdau_assets.evaluation.audit.scenarios import TARGETS, busy_scenario, lean_scenario
from dpdau_assets.evaluation.audit.verdict import Audit, write_verdict
from dpdau_assets.operations.session.workspace import ReleaseSnapshot
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import erasures

SETTINGS = Settings(mechanism="correlated")


@pytest.fixture(scope="module")
def timed() -> tuple[Audit, float]:
    """The short form over correlated noise, without its controls, which have tests of their own; processor seconds."""
    began = time.process_time()
    return run_audit(SETTINGS, form=replace(SHORT, controls=())), time.process_time() - began


@pytest.fixture(scope="module")
def short(timed: tuple[Audit, float]) -> Audit:
    return timed[0]


class TestShortForm:
    def test_the_system_is_as_claimed(self, short: Audit) -> None:
        """Neighbouring runs, noise and guessing show nothing beyond the claim."""
        assert short.findings == []
        assert {each.sketch for each in short.replays} == {"set", "kmv"}
        assert all(change.by in (0, 1) for each in short.replays for one in each.neighbours for change in one.changes)

    def test_it_takes_less_than_40_seconds(self, timed: tuple[Audit, float]) -> None:
        """Processor time, more than 1.5 times what it takes, so that others at work matter little."""
        assert timed[1] < 40

    def test_it_looked_at_something(self, short: Audit) -> None:
        """Users moved numbers, refusals and files were compared, and the bound on mu has something to bound."""
        for each in short.replays:
            assert each.numbers >= 30 and each.documents >= 15 and each.refusals >= 2
            assert all(any(change.by for change in one.changes) for one in each.neighbours)
            assert all(0 < one.observed_mu <= one.claimed_mu for one in each.neighbours)
        assert all(fit.draws >= 90 and fit.offsets is not None and fit.offset_scale is not None for fit in short.fits)
        assert {game.pattern for _, game in short.games} == {"every-day", "worst"}
        worst = next(game for _, game in short.games if game.pattern == "worst")
        assert worst.pattern_mu == pytest.approx(worst.claimed_mu, rel=0.01)

    def test_the_verdict_says_so(self, short: Audit, tmp_path: Path) -> None:
        """Verdict, data and figures are written; the verdict names claim and observation."""
        paths = write_verdict(short, tmp_path / "audit")
        assert {path.name for path in paths} >= {"verdict.md", "audit.json", "noise-correlated.svg"}
        for path in paths:
            if path.suffix == ".svg":
                assert ElementTree.parse(path).getroot().tag.endswith("svg")
        text = paths[0].read_text(encoding="utf-8")
        assert "**Verdict: as claimed.**" in text and "claimed mu" in text
        document = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
        assert (document["ok"], document["findings"]) == (True, [])

    def test_an_unseen_fault_fails_the_audit(self, short: Audit) -> None:
        """An audit that is blind to a fault put in on purpose is not ok, and says which."""
        blind = replace(short, controls=(Control("stale partitions", "neighbouring worlds", ()),))
        assert not blind.ok
        assert "stale partitions" in blind.findings[0]


class TestControls:
    @pytest.mark.parametrize(
        "control",
        [*CONTROLS, pytest.param(half_scale_shared_noise, marks=pytest.mark.slow)],
        ids=lambda control: control.__name__,
    )
    def test_every_fault_is_seen(self, control: ControlRun, tmp_path: Path) -> None:
        """A fault in the real pipeline shows in the part that is there to see it."""
        seen = control(Settings(), folder=tmp_path)
        assert seen.is_caught, seen

    def test_a_pattern_that_nobody_enforces_is_seen(self) -> None:
        """A stay of three days between absences breaks what noise for stays of 30 days relies on."""
        days = DayRange(date(2025, 3, 10), date(2025, 3, 16))
        moves = [0, 0, 1, 1, 1, 0, 0]
        changes = [Change("mau", day, move) for day, move in zip(days, moves, strict=True)]
        assert unenforced_runs(changes).is_caught
        assert not unenforced_runs(changes[2:]).is_caught

    def test_without_the_fault_the_same_worlds_agree(self, tmp_path: Path) -> None:
        """What the controls' worlds show is the fault: without it they are equal."""
        found, _ = replay_neighbours(
            Settings(),
            lean_scenario(6, users=60),
            ("erased",),
            folder=tmp_path,
            mechanism="gaussian",
            sketch_impl="set",
        )
        assert found.findings == []


class TestWorlds:
    def test_a_user_left_out_leaves_no_trace_in_the_script(self) -> None:
        """The neighbouring script names the user nowhere, and changes nothing else."""
        steps = busy_scenario(1, users=20).steps
        for user in TARGETS:
            alone = without(steps, user)
            assert len(alone) == len(steps)
            assert user not in {name for step in alone if isinstance(step, Erase) for name in step.users}
            before = sum(len(step.entries) for step in steps if isinstance(step, Ingest))
            after = [entry for step in alone if isinstance(step, Ingest) for entry in step.entries]
            assert user not in {entry.user for entry in after} and len(after) < before

    @pytest.mark.slow
    def test_worlds_without_a_release_prove_nothing(self, tmp_path: Path) -> None:
        """Where nothing is released, a comparison of nothing is a finding."""
        found, _ = replay_neighbours(
            Settings(mechanism="gaussian", dau_budget_total=0.1, wau_budget_total=0.1, mau_budget_total=0.1),
            lean_scenario(6, users=20),
            ("erased",),
            folder=tmp_path,
            sketch_impl="set",
        )
        assert found.findings == ["gaussian over set: nothing was released, so that nothing was compared"]

    def test_a_leak_outside_is_found(self, tmp_path: Path) -> None:
        """A status that depends on whether anybody asked to be erased is named by its document."""
        found, _ = replay_neighbours(
            SETTINGS,
            lean_scenario(6, users=20),
            ("erased",),
            folder=tmp_path,
            recorder=_RefusesAfterAnErasure,
            sketch_impl="set",
        )
        assert any("release 2025-03-10 to 2025-03-12 differs" in finding for finding in found.findings)


class _RefusesAfterAnErasure(Recorder):
    """A fault: the status `erasure pending`."""

    def counts(self, snapshot: ReleaseSnapshot) -> Counts:
        with snapshot.workspace.ledger.read() as connection:
            if erasures.history(connection):
                raise ConfigurationError("an erasure is pending", hint="try again later")
        return super().counts(snapshot)


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestLongForm:
    def test_every_mechanism_is_as_claimed(self, tmp_path: Path) -> None:
        """All mechanisms with all sketches that they may release, half a year of noise, 5,000 months a side."""
        audit = run_audit(Settings(), form=LONG)
        write_verdict(audit, tmp_path)
        assert audit.findings == []
        played = {(each.mechanism, each.sketch) for each in audit.replays}
        assert played >= {("joint", "set"), ("correlated", "kmv"), ("correlated", "kmv, first search")}

    def test_the_first_search_is_played(self, tmp_path: Path) -> None:
        """Every level that a search reads is recorded; the user moves some of them, by 1, and the claim pays for it."""
        found = replay_search(SETTINGS, ("daily",), seed=0, folder=tmp_path)
        assert found.findings == []
        (changes,) = (each.changes for each in found.neighbours)
        searched = [change for change in changes if change.is_search]
        assert {change.metric for change in searched} == set(METRICS)
        assert 1 in {change.by for change in searched}
