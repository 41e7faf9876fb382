"""The pictures of an evaluation: error against budget, coverage, time, and released series beside exact counts.

Belongs here: from results to figures. They show errors and exact counts: the trusted side. Matplotlib comes with the
extra `evaluation` and is loaded only here, when something is drawn. Does not belong here: any number that is not read
from results.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpdau_assets.core.quantities import METRICS
from dpdau_assets.errors import ConfigurationError, InputError, StorageError
from dpdau_assets.evaluation.accuracy.grid import AS_SET
from dpdau_assets.evaluation.accuracy.results import Results
from dpdau_assets.evaluation.accuracy.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "gaussian": "#1b6ca8",
    "laplace": "#c8553d",
    "correlated": "#2a8c5a",
    "joint": "#7b4fa3",
    "tree": "#b8860b",
    "matrix": "#555555",
}
MARKERS = {"set": "o", "kmv": "s", "theta": "^", "hll": "D", "exact": "o"}
TRUSTED = "trusted side: not to be published"
RESOLUTION = 130
WIDE, PANEL_HEIGHT = 11.0, 3.6


def draw_plots(results: Results, folder: Path) -> list[Path]:
    """Writes every figure that has something to show as a PNG file; their paths.

    Args:
        results: What was evaluated.
        folder: Where to; made when missing.

    Raises:
        ConfigurationError: Matplotlib is not installed.
        InputError: The results hold no release to draw.
        StorageError: The disk refused.
    """
    if not any(row.released for row in results.rows):
        raise InputError("the results hold no release", hint="run `dpdau evaluate` with a larger budget")
    paths = []
    for name, draw in FIGURES.items():
        figure = draw(results)
        if not any(axes.has_data() for axes in figure.axes):
            continue  # nothing of this kind was evaluated
        content = as_png(figure)
        path = folder / f"{name}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="check --out") from None
        paths.append(path)
    return paths


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION)
    return buffer.getvalue()


def error_figure(results: Results) -> Figure:
    """Root mean square error against the cap of a metric's month, without sketches, one panel for each metric."""
    sketch = "set" if any(row.sketch == "set" for row in results.rows) else results.rows[0].sketch
    figure, panels = _figure(1, len(METRICS), f"Error against budget, SKETCH_IMPL={sketch}", height=4.4)
    rows = [row for row in results.rows if row.sketch in (sketch, "exact") and row.rmse and _cap(row)]
    for metric, axes in zip(METRICS, panels, strict=True):
        for mechanism, own in _by_mechanism(row for row in rows if row.metric == metric):
            own = sorted(own, key=_cap)
            caps = [_cap(row) for row in own]
            colour = COLOURS[mechanism]
            axes.plot(caps, [row.expected_rmse or 0.0 for row in own], "-", color=colour, alpha=0.5, linewidth=1.2)
            axes.plot(caps, [row.rmse or 0.0 for row in own], "o", color=colour, label=_with_refusals(mechanism, own))
        axes.set(xscale="log", yscale="log", title=metric.upper(), xlabel="cap of a metric's month (epsilon)")
        _plain_ticks(axes)
    panels[0].set_ylabel("root mean square error (users)")
    _legend(
        figure,
        panels,
        "points: measured in this run; lines: what the noise predicts; joint: the loss that three such caps add up to\n"
        "tree and matrix count by limits that leave users out, which their lines do not know",
    )
    return figure


def sketch_figure(results: Results) -> Figure:
    """Relative error of each sketch under each mechanism at the settings' budget, one panel for each metric."""
    figure, panels = _figure(1, len(METRICS), "Error by sketch, budget as in the settings", height=4.2)
    rows = [row for row in results.rows if row.budget == AS_SET.name and row.rmse and row.mean_users]
    rows = [row for row in rows if row.sketch != "exact"]
    sketches = list(dict.fromkeys(row.sketch for row in rows))
    for metric, axes in zip(METRICS, panels, strict=True):
        groups = _by_mechanism(row for row in rows if row.metric == metric)
        for number, (mechanism, own) in enumerate(groups):
            places = [sketches.index(row.sketch) + _offset(number, len(groups)) for row in own]
            shares = [100 * (row.rmse or 0.0) / (row.mean_users or 1.0) for row in own]
            expected = [100 * (row.expected_rmse or 0.0) / (row.mean_users or 1.0) for row in own]
            axes.bar(places, shares, width=0.8 / len(groups), color=COLOURS[mechanism], label=mechanism)
            axes.plot(places, expected, "_", color="black", markersize=9)
        axes.set_xticks(range(len(sketches)), sketches)
        axes.set_title(metric.upper())
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("root mean square error (% of users)")
    _legend(figure, panels, "bars: measured; dashes: what the stored deviations predict")
    return figure


def coverage_figure(results: Results) -> Figure:
    """Share of intervals that hold the exact count, for each pair, over all metrics and budgets."""
    figure, panels = _figure(1, 1, "Coverage of the 95 % intervals, all metrics and budgets", height=4.6)
    axes = panels[0]
    pairs: dict[tuple[str, str], list[Row]] = {}
    for row in results.rows:
        if row.released and row.sketch != "exact":
            pairs.setdefault((row.mechanism, row.sketch), []).append(row)
    labels = []
    for place, ((mechanism, sketch), own) in enumerate(pairs.items()):
        made = sum(row.released for row in own)
        held = sum(row.released * (row.coverage or 0.0) for row in own) / made
        labels.append(f"{mechanism}\n{sketch}\nn={made}")
        error = 2 * math.sqrt(0.95 * 0.05 / made)
        axes.plot([place, place], [95 - 100 * error, 95 + 100 * error], color="#cccccc", linewidth=8, zorder=1)
        axes.plot(place, 100 * held, MARKERS[sketch], color=COLOURS[mechanism], markersize=8, zorder=3)
    if pairs:
        axes.axhline(95, color="black", linewidth=1, linestyle="--", zorder=2)
    axes.set_xticks(range(len(pairs)), labels, fontsize=8)
    axes.set_ylabel("intervals that hold the exact count (%)")
    axes.margins(y=0.2)
    _note(
        figure,
        "grey: 95 % and two standard errors of n independent intervals; those of a month that share an offset "
        "or a sample are not independent and scatter more",
    )
    return figure


def latency_figure(results: Results) -> Figure:
    """Time of a call that releases one day, and of bringing a day up to date, for each pair."""
    figure, panels = _figure(1, 2, "Time", height=4.6)
    rows = [row for row in results.rows if row.release_median_ms is not None]
    pairs = list(dict.fromkeys((row.mechanism, row.sketch) for row in rows))
    for place, pair in enumerate(pairs):
        own = [row for row in rows if (row.mechanism, row.sketch) == pair]
        median = _mean(row.release_median_ms or 0.0 for row in own)
        panels[0].barh(place, median, color=COLOURS[pair[0]])
        panels[0].plot(max(row.release_p99_ms or 0.0 for row in own), place, "|", color="black", markersize=12)
    panels[0].set_yticks(range(len(pairs)), [f"{mechanism}, {sketch}" for mechanism, sketch in pairs], fontsize=8)
    panels[0].set(title="releasing one day of one metric (joint: of all three)", xlabel="milliseconds")
    sketches = list(dict.fromkeys(row.sketch for row in rows))
    for place, sketch in enumerate(sketches):
        row = next(row for row in rows if row.sketch == sketch)
        panels[1].barh(place, row.build_median_ms or 0.0, color="#8a8a8a")
        panels[1].plot(row.build_p99_ms or 0.0, place, "|", color="black", markersize=12)
    panels[1].set_yticks(range(len(sketches)), sketches)
    panels[1].set(title="bringing one day and its windows up to date", xlabel="milliseconds")
    for axes in panels:
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    _note(figure, "bars: median; strokes: 99th percentile, the longest of all budgets")
    return figure


def series_figure(results: Results) -> Figure:
    """Released values with their intervals beside the exact counts: one panel for each mechanism."""
    metric, sketch, budget = _shown_series(results)
    points = [each for each in results.points if (each.metric, each.sketch, each.budget) == (metric, sketch, budget)]
    mechanisms = list(dict.fromkeys(point.mechanism for point in points))
    title = f"{metric.upper()} as released and exactly, SKETCH_IMPL={sketch}, budget: {budget}"
    figure, panels = _figure(math.ceil(len(mechanisms) / 2), min(2, len(mechanisms)), title, is_shared=True)
    for mechanism, axes in zip(mechanisms, panels, strict=False):
        own = [point for point in points if point.mechanism == mechanism]
        days: list[Any] = [date.fromisoformat(point.day) for point in own]
        upper = [point.upper_95 if point.upper_95 is not None else point.estimate for point in own]
        colour = COLOURS[mechanism]
        axes.fill_between(
            days, [point.lower_95 for point in own], upper, color=colour, alpha=0.22, label="95 % interval"
        )
        axes.plot(days, [point.estimate for point in own], ".-", color=colour, linewidth=1, label="released")
        axes.plot(days, [point.exact_users_trusted_side for point in own], "k--", linewidth=1, label="exact")
        axes.set(title=f"{mechanism}: {len(own)} values released", ylabel="active users")
        axes.legend(fontsize=7, loc="best")
        _plain_dates(axes)
    for axes in panels[len(mechanisms) :]:
        axes.set_visible(False)
    return figure


FIGURES: dict[str, Callable[[Results], Figure]] = {
    "error-by-budget": error_figure,
    "error-by-sketch": sketch_figure,
    "coverage": coverage_figure,
    "latency": latency_figure,
    "series": series_figure,
}
"""File names without their ending, and what draws them."""


def _shown_series(results: Results) -> tuple[str, str, str]:
    """Metric, sketch and budget of the series that are shown: exact DAU as set, where there are such."""
    chosen = [point for point in results.points if (point.metric, point.budget) == ("dau", AS_SET.name)]
    first = next((point for point in chosen if point.sketch == "set"), (chosen or results.points)[0])
    return first.metric, first.sketch, first.budget


def _figure(
    rows: int, columns: int, title: str, *, height: float = PANEL_HEIGHT, is_shared: bool = False
) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError(
            "plots need matplotlib, which is not installed", hint="pip install 'dpdau-assets[evaluation]'"
        ) from None
    figure = Figure(figsize=(WIDE, height * rows), layout="constrained")
    figure.suptitle(f"{title}    [{TRUSTED}]", fontsize=11)
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharex=is_shared, sharey=is_shared).ravel())
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure, panels


def _by_mechanism(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.mechanism, []).append(row)
    return list(groups.items())


def _cap(row: Row) -> float:
    """The cap that a budget names; 0 for a budget that is none."""
    kind, _, value = row.budget.partition(" ")
    return float(value) if kind == "cap" else 0.0


def _with_refusals(mechanism: str, rows: Sequence[Row]) -> str:
    return f"{mechanism} (some refused)" if any(row.refused for row in rows) else mechanism


def _offset(number: int, count: int) -> float:
    return 0.8 * ((number + 0.5) / count - 0.5)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


def _plain_ticks(axes: Axes) -> None:
    """Numbers as people write them on logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _plain_dates(axes: Axes) -> None:
    """Days of a month as short as they can be."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.tick_params(axis="x", labelbottom=True)


def _legend(figure: Figure, panels: Sequence[Axes], note: str) -> None:
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), title=note)


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=8)
