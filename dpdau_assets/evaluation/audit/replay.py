"""Part 1: a run with a user and the same run without, compared number by number and byte by byte.

The run without the user is given the noisy numbers of the other one, so that whatever else differs outside has
leaked by another way: a status, a refusal, a threshold, a file. Its own numbers before noise are recorded and
subtracted: the difference is what the user moved, and must be one of the changes that the noise covers.

Belongs here: running neighbouring inputs and comparing them. Which changes are covered is said in `claims`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from dpdau_assets.core.accounting.snapshot import smallest_epsilon
from dpdau_assets.evaluation.audit.claims import (
    Change,
    changes_between,
    claimed_squared_mu,
    exceeds,
    squared_mu_of,
    uncovered,
)
from dpdau_assets.evaluation.audit.recorder import Recorder
from dpdau_assets.evaluation.audit.scenario_run import ScenarioRun, run_scenario, run_settings, without
from dpdau_assets.evaluation.audit.scenarios import ROTATION_DAYS, Scenario
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger import accounts


@dataclass(frozen=True)
class Neighbour:
    """What the absence of one user changed.

    Attributes:
        user: Which user.
        changes: What it moved before noise, in the order of the draws; empty when the windows read differ.
        leaks: Outside documents that differ although the noisy numbers are the same, and changes not covered.
        observed_mu: The largest v'Pv over accounts, as mu.
        claimed_mu: What the account it belongs to was charged, as mu.
    """

    user: str
    changes: tuple[Change, ...] = field(repr=False)
    leaks: tuple[str, ...]
    observed_mu: float
    claimed_mu: float


@dataclass(frozen=True)
class Replay:
    """Part 1 for one mechanism and sketch.

    Attributes:
        mechanism: MECHANISM.
        sketch: SKETCH_IMPL.
        documents: Outside documents that were compared for each neighbour.
        refusals: Documents among them that are refusals or errors.
        numbers: Numbers before noise that were compared for each neighbour.
        overspent: Accounts whose recomputed loss lies above their cap.
        neighbours: One entry for each user left out.
    """

    mechanism: str
    sketch: str
    documents: int
    refusals: int
    numbers: int
    overspent: tuple[str, ...]
    neighbours: tuple[Neighbour, ...]

    @property
    def findings(self) -> list[str]:
        """Everything that is not as claimed."""
        place = f"{self.mechanism} over {self.sketch}"
        found = [f"{place}: {text}" for text in self.overspent]
        found += [] if self.numbers else [f"{place}: nothing was released, so that nothing was compared"]
        return found + [f"{place}, without {each.user}: {leak}" for each in self.neighbours for leak in each.leaks]


def replay_neighbours(
    settings: Settings,
    scenario: Scenario,
    users: Sequence[str],
    *,
    folder: Path,
    recorder: Callable[..., Recorder] = Recorder,
    **overrides: object,
) -> tuple[Replay, dict[str, ScenarioRun]]:
    """Runs the scenario with everybody, and without each of some users.

    Args:
        settings: The privacy parameters to audit.
        scenario: What happens.
        users: Targets to leave out.
        folder: An empty folder to run in.
        recorder: Makes the recorders; a control replaces it.
        **overrides: Settings of these runs alone.

    Returns:
        The comparison, and the runs by the user left out (`""`: nobody).
    """
    chosen = run_settings(
        settings,
        folder / "world",
        series_start=scenario.series_start,
        **{"hash_salt_rotation_days": ROTATION_DAYS, **overrides},
    )
    everybody = run_scenario(scenario.steps, chosen, recorder(), start=scenario.start)
    scenario_runs = {"": everybody}
    for user in users:
        follower = recorder(everybody.readings)
        scenario_runs[user] = run_scenario(without(scenario.steps, user), chosen, follower, start=scenario.start)
    neighbours = tuple(compare(everybody, scenario_runs[user], user=user) for user in users)
    result = Replay(
        mechanism=chosen.mechanism,
        sketch=chosen.sketch_impl,
        documents=len(everybody.outside),
        refusals=sum(b'"hint"' in each.content for each in everybody.outside),
        numbers=len(everybody.readings),
        overspent=tuple(overspent(everybody, chosen)),
        neighbours=neighbours,
    )
    return result, scenario_runs


def compare(everybody: ScenarioRun, alone: ScenarioRun, *, user: str) -> Neighbour:
    """One run against its neighbour without `user`."""
    leaks = [*_differing_documents(everybody, alone), *_differing_books(everybody, alone)]
    changes = changes_between(everybody.readings, alone.readings)
    if isinstance(changes, str):
        return Neighbour(user, (), (*leaks, changes), math.inf, 0.0)
    is_joint = any(account.mechanism == "joint" for account in everybody.accounts)
    leaks += uncovered(changes, joint=is_joint)
    observed, claimed = 0.0, 0.0
    for account in everybody.accounts:
        moved, stated = (
            squared_mu_of(account, _of_account(account, changes)),
            claimed_squared_mu(everybody.spent[account.account]),
        )
        if exceeds(moved, stated):
            leaks.append(
                f"{account.metric} of {account.period}: mu {math.sqrt(moved):.4f}, claimed {math.sqrt(stated):.4f}"
            )
        if moved >= observed:
            observed, claimed = moved, stated
    return Neighbour(user, tuple(changes), tuple(leaks), math.sqrt(observed), math.sqrt(claimed))


def overspent(scenario_run: ScenarioRun, settings: Settings) -> Iterable[str]:
    """Accounts and months whose loss, recomputed from the stored events, lies above the cap that was set."""
    for account in scenario_run.accounts:
        loss = smallest_epsilon(
            scenario_run.spent[account.account],
            delta=settings.delta,
            **settings.accounting,
        )
        cap = settings.cap_of(account.metric)
        if loss > cap:
            yield f"{account.metric} of {account.period} has spent {loss:.4f} of {cap:g}"


def _differing_documents(everybody: ScenarioRun, alone: ScenarioRun) -> list[str]:
    names = [[document.name for document in scenario_run.outside] for scenario_run in (everybody, alone)]
    if names[0] != names[1]:
        return ["other documents left"]
    return [
        f"{one.name} differs"
        for one, other in zip(everybody.outside, alone.outside, strict=True)
        if one.content != other.content
    ]


def _differing_books(everybody: ScenarioRun, alone: ScenarioRun) -> list[str]:
    """What was charged and how often noise was drawn, both public."""
    found = [] if everybody.draws == alone.draws else ["another number of draws"]
    return found if everybody.spent == alone.spent else [*found, "other charges"]


def _of_account(account: accounts.Account, changes: Iterable[Change]) -> list[Change]:
    """The changes that were drawn under one account."""
    return [
        each
        for each in changes
        if _month(each.day) == account.period and account.metric in (each.metric, account.mechanism)
    ]


def _month(day: date) -> str:
    return day.isoformat()[:7]
