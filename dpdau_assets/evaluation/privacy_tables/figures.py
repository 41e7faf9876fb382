"""The figures of docs/privacy.md, as SVG: needs matplotlib, which the extra `evaluation` installs.

Belongs here: drawing. What is drawn is computed by the modules that make the tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpdau_assets.core.accounting.attacker import gaussian_true_positives, true_positive_bound
from dpdau_assets.core.dp_events import merge_events, repeat_event
from dpdau_assets.core.mechanisms.samplers import SeededNoise
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.evaluation.audit.claims import claimed_squared_mu
from dpdau_assets.evaluation.privacy_tables.losses import FALSE_POSITIVES, loss
from dpdau_assets.evaluation.privacy_tables.scenarios import (
    DEFAULTS,
    MONTH,
    RESERVE,
    SINGLE,
    metric_noise,
    month_of_all,
    year_of_all,
)
from dpdau_assets.evaluation.privacy_tables.simulation import Simulation

INCHES = (7.6, 3.6)
COLOURS = {"laplace": "#b07aa1", "gaussian": "#4878a8", "correlated": "#c0504d"}
LINE = "#333333"
SHARES = np.geomspace(1e-4, 0.99, 200)
FARTHEST = 40
"""Users from the truth that are shown."""
EXAMPLE_KEY = b"docs/privacy.md, two months"
EXAMPLE_USERS = 1000


def draw_figures(simulation: Simulation, folder: Path) -> list[Path]:
    """Draws every figure into a folder and returns the files.

    Args:
        simulation: Months that are shown beside theory.
        folder: Made when missing.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigurationError(
            "figures need matplotlib", hint="pip install 'dpdau-assets[evaluation]', then repeat the command"
        ) from error
    matplotlib.use("svg")
    # text stays text, and the same numbers give the same bytes
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dpdau", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Any], None]] = {
        "privacy-attacker.svg": _attacker,
        "privacy-noise.svg": lambda figure: _noise(figure, simulation),
        "privacy-composition.svg": _composition,
        "privacy-two-months.svg": _two_months,
    }
    return [_drawn(folder / name, draw) for name, draw in drawings.items()]


def _drawn(path: Path, draw: Callable[[Any], None]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    draw(figure)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    return path


def _attacker(figure: Any) -> None:
    """True positives against false positives, on a logarithmic scale: Gaussian curves, and the accountant's bounds."""
    noise = metric_noise("correlated", "dau")
    cases = {
        "one DAU value": merge_events(noise.shared_noise_charge(), repeat_event(noise.event(), 1)),
        "a month of DAU, WAU and MAU": month_of_all("correlated", revisions=RESERVE),
        "twelve months": year_of_all("correlated", revisions=RESERVE),
    }
    axes, colour = figure.subplots(), COLOURS["correlated"]
    for (label, events), style in zip(cases.items(), (":", "-", "--"), strict=True):
        mu = math.sqrt(claimed_squared_mu(events))
        curve = [gaussian_true_positives(mu, false_positives=float(share)) for share in SHARES]
        axes.plot(SHARES, curve, style, color=colour, label=label)
        bounds = [true_positive_bound(events, false_positives=share) for share in FALSE_POSITIVES]
        axes.plot(FALSE_POSITIVES, bounds, "o", markersize=4, color=colour)
        for share, bound in zip(FALSE_POSITIVES, bounds, strict=True):
            if bound > 2.5 * share:  # the lowest curve lies too near the axis for a label
                text = f"{100 * bound:.1f} %"
                axes.annotate(text, (share, bound), (-3, 6), textcoords="offset points", ha="right")
    axes.plot(SHARES, SHARES, color=LINE, linewidth=0.8, label="guessing")
    axes.set(xscale="log", xlim=(1e-4, 1), ylim=(0, 1.05), xlabel="false alarms", ylabel="recognised, at most")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(0, 0.45))


def _noise(figure: Any, simulation: Simulation) -> None:
    """The law of the error of one DAU, and how often the simulated months had each error."""
    for axes, name in zip(figure.subplots(1, len(SINGLE), sharey=True), SINGLE, strict=True):
        noise, draws = metric_noise(name, "dau"), simulation.draws[name, "dau"]
        smallest, chances = noise.noise_pmf()
        units = noise.units_per_user
        width = 2 * units + 1  # odd, so that the middle bar is about 0
        bars = math.ceil(FARTHEST * units / width)
        edges = width * (np.arange(-bars - 1, bars + 1) + 0.5)
        found = np.histogram(draws, bins=edges)[0] / draws.size / width * units
        axes.bar((edges[:-1] + width / 2) / units, found, width / units, color=COLOURS[name], alpha=0.45)
        values = (smallest + np.arange(len(chances))) / units
        near = np.abs(values) <= FARTHEST
        axes.plot(values[near], chances[near] * units, color=LINE, linewidth=1)
        error = math.sqrt(noise.noise_variance())
        axes.set(
            title=f"{name}: error {error:.1f} users", xlabel="DAU published minus true", xlim=(-FARTHEST, FARTHEST)
        )
    figure.axes[0].set_ylabel("chance per user")


def _composition(figure: Any) -> None:
    """Loss of a month of DAU against the number of released days."""
    axes, days = figure.subplots(), range(1, MONTH + RESERVE + 1)
    for name in SINGLE:
        noise = metric_noise(name, "dau")
        losses = [loss(merge_events(noise.shared_noise_charge(), repeat_event(noise.event(), made))) for made in days]
        axes.plot(days, losses, ".-", markersize=3, color=COLOURS[name], label=name)
    cap = DEFAULTS.dau_budget_total
    axes.axhline(cap, color=LINE, linewidth=0.8, linestyle="--")
    axes.annotate(
        f"cap {cap:g}: nothing beyond it is released", (13, cap), (0, 4), textcoords="offset points", color=LINE
    )
    axes.set(xlim=(0, MONTH + RESERVE + 1), ylim=(0, 6), xlabel="DAU values released in the month", ylabel="epsilon")
    axes.legend(frameon=False, loc="lower right")


def _two_months(figure: Any) -> None:
    """A made-up product with exactly 1,000 users every day: two months of published values."""
    axes, noise, source = figure.subplots(), metric_noise("correlated", "dau"), SeededNoise(EXAMPLE_KEY)
    units, reach = noise.units_per_user, noise.noise_quantile(0.975) / noise.units_per_user
    for month in range(2):
        shared_noise = noise.draw_shared_noise(source)
        values = [noise.draw(EXAMPLE_USERS, source, shared_noise=shared_noise) / units for _ in range(MONTH)]
        days = np.arange(MONTH) + month * MONTH + 1
        axes.errorbar(days, values, reach, fmt=".", color=COLOURS["correlated"], elinewidth=0.7, alpha=0.8)
        mean = sum(values) / MONTH
        axes.plot(days, [mean] * MONTH, color=COLOURS["gaussian"], linewidth=1.4)
        axes.annotate(f"average {mean:,.1f}", (days[0], EXAMPLE_USERS + 26), color=COLOURS["gaussian"])
    axes.axhline(EXAMPLE_USERS, color=LINE, linewidth=0.8, linestyle="--")
    axes.axvline(MONTH + 0.5, color=LINE, linewidth=0.5)
    axes.set(xlabel="day", ylabel="DAU, with 95 % intervals", ylim=(EXAMPLE_USERS - 30, EXAMPLE_USERS + 30))
