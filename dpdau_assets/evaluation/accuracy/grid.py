"""What an evaluation compares: every mechanism with every sketch at every budget, and the settings that each means.

Belongs here: which combinations exist, which are refused and why, and how a budget is spread over releases. Does not
belong here: running one (`trials`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from dpdau_assets.core.accounting.snapshot import fits
from dpdau_assets.core.dp_events import repeat_event
from dpdau_assets.core.mechanisms.calibration import INDEPENDENT_NAMES, mechanism_from
from dpdau_assets.core.probability.gaussian_dp import gaussian_mu, gdp_epsilon
from dpdau_assets.core.quantities import METRICS
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.settings.combinations import refuse_unsound_sketch
from dpdau_assets.settings.settings import NOT_YET, Settings

RELEASED = ("gaussian", "laplace", "correlated", "joint")
"""Mechanisms that releases have."""
LONG_HORIZON = ("tree", "matrix")
"""Mechanisms that simulated streams only are evaluated with, without sketches (`long_horizon`)."""
SKETCHES = ("set", "kmv", "theta", "hll")
LARGEST_EPSILON = 100.0
STEP = 1.002
"""Relative step to which the epsilon of a release is found for a cap."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be lost; public.

    Attributes:
        kind: `settings`: as the settings say. `cap`: by one metric in a month, filled by its planned releases; `joint`
            noise gets what three such caps compose to. `epsilon`: by one release of independent noise, under the
            settings' caps.
        value: Epsilon of the cap or of the release; None for the settings' own.
    """

    kind: Literal["settings", "cap", "epsilon"]
    value: float | None = None

    @property
    def name(self) -> str:
        """How tables call it, such as `cap 3`."""
        return self.kind if self.value is None else f"{self.kind} {self.value:g}"


AS_SET = Budget("settings")


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination; public."""

    mechanism: str
    sketch: str
    budget: Budget

    @property
    def name(self) -> str:
        """What tells it from every other."""
        return f"{self.mechanism} over {self.sketch} at {self.budget.name}"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A combination that was not evaluated, and the one line that says why."""

    mechanism: str
    sketch: str
    budget: str
    reason: str


def grid(
    mechanisms: Iterable[str], sketches: Sequence[str], budgets: Sequence[Budget], *, sketch_k: int
) -> tuple[list[Cell], list[Unsupported]]:
    """Every combination, and those of them that settings refuse.

    A budget per release has no meaning for noise that fills its cap: there it is left out without a word.

    Args:
        mechanisms: Of `RELEASED` and `LONG_HORIZON`.
        sketches: Of `SKETCHES`.
        budgets: Budgets.
        sketch_k: SKETCH_K.
    """
    cells: list[Cell] = []
    refused: list[Unsupported] = []
    for mechanism in mechanisms:
        for sketch in sketches:
            reason = _refusal(mechanism, sketch, sketch_k=sketch_k)
            if reason is None:
                cells += [Cell(mechanism, sketch, each) for each in _meant_for(mechanism, budgets)]
            else:
                refused.append(Unsupported(mechanism, sketch, "any", reason))
    return cells, refused


def _meant_for(mechanism: str, budgets: Iterable[Budget]) -> Iterator[Budget]:
    return (each for each in budgets if each.kind != "epsilon" or mechanism in INDEPENDENT_NAMES)


def _refusal(mechanism: str, sketch: str, *, sketch_k: int) -> str | None:
    """Why releases refuse a pair, in one line; None when they do not."""
    unsupported, instead = NOT_YET["mechanism"]
    if mechanism in unsupported:
        return instead.split(":")[0]
    try:
        refuse_unsound_sketch(mechanism, sketch, sketch_k=sketch_k)
    except ConfigurationError as refusal:
        return refusal.message
    return None


def privacy_of(cell: Cell, settings: Settings, *, releases: int) -> dict[str, Any]:
    """The settings by which a combination differs from `settings`.

    Args:
        cell: The combination.
        settings: The settings in force.
        releases: Most releases and revisions of one metric in a month.
    """
    chosen: dict[str, Any] = {"mechanism": cell.mechanism, "sketch_impl": cell.sketch}
    value = cell.budget.value
    if value is None:
        return chosen
    if cell.budget.kind == "epsilon":
        return chosen | {f"epsilon_{metric}": value for metric in METRICS}
    chosen |= {f"{metric}_budget_total": value for metric in METRICS}
    chosen |= {"joint_budget_total": min(LARGEST_EPSILON, composed_cap(value, delta=settings.delta))}
    # the totals over metrics and months are a matter of their own: here they must not be what refuses
    chosen |= {"total_budget_month": LARGEST_EPSILON, "total_budget_365d": LARGEST_EPSILON}
    if cell.mechanism in INDEPENDENT_NAMES:
        epsilon = filling_epsilon(
            cell.mechanism,
            value,
            releases=releases,
            delta=settings.delta,
            **settings.accounting,
        )
        chosen |= {f"epsilon_{metric}": epsilon for metric in METRICS}
    return chosen


def composed_cap(cap: float, *, delta: float) -> float:
    """What the caps of three metrics lose together when Gaussian noise fills each.

    Args:
        cap: Of one metric.
        delta: Delta of all statements.
    """
    return gdp_epsilon(delta, mu=math.sqrt(len(METRICS)) * gaussian_mu(cap, delta))


@lru_cache(maxsize=256)
def filling_epsilon(
    mechanism: str, cap: float, *, releases: int, delta: float, advanced_delta: float, rdp_orders: tuple[float, ...]
) -> float:
    """The largest epsilon of one release, to a fifth of a percent, with which so many releases fit under the cap.

    Args:
        mechanism: `gaussian` or `laplace`.
        cap: Epsilon cap of a metric's month.
        releases: How many must fit.
        delta: Delta of all statements.
        advanced_delta: Slack of advanced composition.
        rdp_orders: Orders of the RDP bound.

    """

    def is_enough(epsilon: float) -> bool:
        events = repeat_event(mechanism_from(mechanism, epsilon=epsilon, delta=delta).event(), releases)
        return fits(events, cap, delta=delta, advanced_delta=advanced_delta, rdp_orders=rdp_orders)

    low, high = cap / (2 * releases), cap  # half of the plain sum leaves room for the deltas of the releases
    if mechanism == "gaussian":  # composes in closed form, so that next to nothing is left to search
        high = STEP * gdp_epsilon(delta, mu=gaussian_mu(cap, delta) / math.sqrt(releases))
        while not is_enough(high / STEP):
            high /= STEP
        return high / STEP
    while high / low > STEP:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if is_enough(middle) else (low, middle)
    return low
