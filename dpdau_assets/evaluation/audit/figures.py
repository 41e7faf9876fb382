"""Two figures of a verdict as SVG text: how the noise fills its law, and how far apart the attacker's scores lie.

Only drawing belongs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from dpdau_assets.evaluation.audit.game import GameResult
from dpdau_assets.evaluation.audit.noise_fit import NoiseFit

WIDTH, HEIGHT, MARGIN = 760.0, 260.0, 36.0
SCORE_BINS = 40
ABSENT, PRESENT, LINE = "#4878a8", "#c0504d", "#333333"


def noise_figure(fit: NoiseFit) -> str:
    """Draws in bins of equal chance beside the number expected in each, with two standard deviations."""
    expected = fit.draws / len(fit.histogram)
    spread = 2 * (expected * (1 - 1 / len(fit.histogram))) ** 0.5
    top = max(*fit.histogram, expected + spread) * 1.05
    bars = _bars(fit.histogram, top, colour=ABSENT, opacity=0.8)
    lines = [
        _level(expected, top, dashed=False),
        _level(expected + spread, top),
        _level(expected - spread, top),
    ]
    title = f"{fit.mechanism}: {fit.draws} draws in {len(fit.histogram)} bins of equal chance (p = {fit.law:.3g})"
    return _page(title, [*bars, *lines])


def scores_figure(mechanism: str, game: GameResult) -> str:
    """The attacker's scores of months without and with the user."""
    absent, present = game.scores
    low, high = (float(value) for value in np.quantile(np.concatenate((absent, present)), (0.001, 0.999)))
    counts = [np.histogram(side, bins=SCORE_BINS, range=(low, high))[0].tolist() for side in (absent, present)]
    top = max(max(side) for side in counts) * 1.05
    bars = [
        *_bars(counts[0], top, colour=ABSENT, opacity=0.55),
        *_bars(counts[1], top, colour=PRESENT, opacity=0.45),
    ]
    title = (
        f"{mechanism}, {game.pattern}: scores without (blue) and with (red) the user; mu at least "
        f"{game.observed_mu:.3f}, claimed {game.claimed_mu:.3f}"
    )
    return _page(title, bars)


def _bars(counts: Sequence[int], top: float, *, colour: str, opacity: float) -> list[str]:
    width = (WIDTH - 2 * MARGIN) / len(counts)
    return [
        f'<rect x="{MARGIN + number * width + 0.5:.1f}" y="{_y(count, top):.1f}" width="{width - 1:.1f}" '
        f'height="{_y(0, top) - _y(count, top):.1f}" fill="{colour}" fill-opacity="{opacity}"/>'
        for number, count in enumerate(counts)
    ]


def _level(value: float, top: float, *, dashed: bool = True) -> str:
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    y = _y(value, top)
    return f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="{LINE}"{dash}/>'


def _y(value: float, top: float) -> float:
    return HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN)


def _page(title: str, parts: Iterable[str]) -> str:
    base = _level(0.0, 1.0, dashed=False)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" font-family="sans-serif" '
        f'font-size="12"><title>{escape(title)}</title><rect width="{WIDTH:g}" height="{HEIGHT:g}" fill="#ffffff"/>'
        f'<text x="{MARGIN:g}" y="20" fill="{LINE}">{escape(title)}</text>{"".join(parts)}{base}</svg>\n'
    )
