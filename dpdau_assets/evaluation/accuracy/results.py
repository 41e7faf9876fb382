"""The files of an evaluation in its experiment's folder: written whole, read back, and never mixed with another's.

    config.json    everything that the numbers depend on
    results.json   rows for each combination and metric, and what was not evaluated, with the reason
    results.csv    the same rows
    series.csv     released values beside exact counts, day by day
    summary.md     tables for a reader

A folder holds results of one configuration: another one is refused. Choosing a new name costs nothing, while results
that were silently replaced are gone.

Belongs here: formats and that rule. All of it is of the trusted side. Does not belong here: any number.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dpdau_assets.errors import ConfigurationError, DataError, InputError, StorageError
from dpdau_assets.evaluation.accuracy.grid import Unsupported
from dpdau_assets.evaluation.accuracy.rows import Evaluation, Point, Row

CONFIG_FILE, RESULTS_FILE, ROWS_FILE, SERIES_FILE, SUMMARY_FILE = (
    "config.json",
    "results.json",
    "results.csv",
    "series.csv",
    "summary.md",
)
NOTICE = "trusted side: errors and exact counts of the stream; not private, never to be published"


@dataclass(frozen=True)
class Results:
    """What was read back (trusted side).

    Attributes:
        configuration: Everything that the numbers depend on.
        rows: A row for each combination and metric.
        points: Released values beside exact counts.
        unsupported: What was not evaluated, and why.
    """

    configuration: Mapping[str, Any]
    rows: tuple[Row, ...]
    points: tuple[Point, ...]
    unsupported: tuple[Unsupported, ...]


def require_same_configuration(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Raises unless the folder holds no results yet, or results of this configuration, which a repeat replaces.

    Args:
        folder: The experiment's folder.
        configuration: What is to be evaluated.

    Raises:
        ConfigurationError: It holds results of another one; the names in which they differ are told.
        DataError: What it holds cannot be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        return
    known = _read_json(folder / CONFIG_FILE)
    names = [*configuration, *(name for name in known if name not in configuration and name != "notice")]
    differing = [name for name in names if known.get(name) != configuration.get(name)]
    if differing:
        raise ConfigurationError(
            f"experiment {folder.name} holds results of another configuration (other {', '.join(differing)})",
            hint="set EXPERIMENT_ID to a new name, or remove that folder",
        )


def write_results(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Writes the files of an evaluation; their paths, the summary first.

    Args:
        evaluation: What was found.
        folder: The experiment's folder; made when missing.

    Raises:
        StorageError: The disk refused.
    """
    document = {
        "notice": NOTICE,
        "seconds": round(evaluation.seconds, 1),
        "cores": os.cpu_count(),
        "rows": [asdict(row) for row in evaluation.rows],
        "unsupported": [asdict(each) for each in evaluation.unsupported],
    }
    texts = {
        SUMMARY_FILE: summary_text(evaluation),
        CONFIG_FILE: _json({"notice": NOTICE, **evaluation.configuration}),
        RESULTS_FILE: _json(document),
        ROWS_FILE: _csv(Row, evaluation.rows),
        SERIES_FILE: _csv(Point, evaluation.points),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            temporary = folder / f".{name}.part"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="check DATA_DIR or --out") from None
    return [folder / name for name in texts]


def read_results(folder: Path) -> Results:
    """The results in an experiment's folder.

    Args:
        folder: The experiment's folder.

    Raises:
        InputError: There are none.
        DataError: They cannot be read.
    """
    if not (folder / RESULTS_FILE).is_file() or not (folder / SERIES_FILE).is_file():
        raise InputError(f"{folder} holds no results", hint="run `dpdau evaluate` first, or check EXPERIMENT_ID")
    document = _read_json(folder / RESULTS_FILE)
    try:
        rows = tuple(Row(**row) for row in document["rows"])
        unsupported = tuple(Unsupported(**each) for each in document["unsupported"])
        with (folder / SERIES_FILE).open(encoding="utf-8", newline="") as file:
            points = tuple(_point(row) for row in csv.DictReader(file))
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"the results in {folder} cannot be read", hint="run `dpdau evaluate` again") from error
    return Results(_read_json(folder / CONFIG_FILE), rows, points, unsupported)


def _point(row: Mapping[str, str]) -> Point:
    return Point(
        mechanism=row["mechanism"],
        sketch=row["sketch"],
        budget=row["budget"],
        metric=row["metric"],
        day=row["day"],
        estimate=float(row["estimate"]),
        lower_95=int(row["lower_95"]),
        upper_95=int(row["upper_95"]) if row["upper_95"] else None,
        exact_users_trusted_side=int(row["exact_users_trusted_side"]),
    )


def summary_text(evaluation: Evaluation) -> str:
    """The summary as a page of Markdown."""
    configuration = evaluation.configuration
    stream = configuration["stream"]
    lines = [
        "# Evaluation",
        "",
        f"**{NOTICE[0].upper()}{NOTICE[1:]}.**",
        "",
        f"Stream {stream['name']} (sha256 {stream['sha256'][:12]}), {configuration['noise_source']} noise, seed "
        f"{configuration['seed']}, version {configuration['version']}; {evaluation.seconds:.0f} s. All: config.json.",
        "",
        "RMSE in users, in brackets what noise and sampling predict; coverage of the 95 % intervals over all metrics; "
        "epsilon of all three metrics in the month that lost most; milliseconds of a call that releases one day.",
        "",
        *markdown_table(HEADERS, summary_rows(evaluation.rows)),
    ]
    if evaluation.unsupported:
        reasons = [[each.mechanism, each.sketch, each.budget, each.reason] for each in evaluation.unsupported]
        lines += ["## Not evaluated", "", *markdown_table(["mechanism", "sketch", "budget", "why"], reasons)]
    return "\n".join(lines).rstrip() + "\n"


HEADERS = (
    "mechanism",
    "sketch",
    "budget",
    "DAU error",
    "WAU error",
    "MAU error",
    "coverage",
    "made / refused",
    "epsilon",
    "release ms",
)


def summary_rows(rows: Sequence[Row]) -> list[list[str]]:
    """One line for each combination, its metrics side by side."""
    combinations: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        combinations.setdefault((row.mechanism, row.sketch, row.budget), []).append(row)
    return [[*names, *_cells(group)] for names, group in combinations.items()]


def _cells(group: Sequence[Row]) -> list[str]:
    errors = {row.metric: row for row in group}
    shown = [_error(errors.get(metric)) for metric in ("dau", "wau", "mau")]
    made = sum(row.released for row in group)
    held = sum(row.released * (row.coverage or 0.0) for row in group)
    slowest = [row.release_median_ms for row in group if row.release_median_ms is not None]
    together, spent = group[0].epsilon_together, group[0].epsilon_spent
    return [
        *shown,
        f"{held / made:.1%}" if made else "-",
        f"{made} / {sum(row.refused for row in group)}",
        f"{spent:.2f}, of MAU" if together is None else f"{together:.2f}",
        f"{max(slowest):.0f}" if slowest else "-",
    ]


def _error(row: Row | None) -> str:
    if row is None or row.rmse is None:
        return "-"
    return f"{row.rmse:.1f} ({row.expected_rmse:.1f})"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown, and an empty one."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (headers, ["---"] * len(headers), *rows)]
    return [*lines, ""]


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(kind: type[Row] | type[Point], rows: Sequence[Row] | Sequence[Point]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read", hint="remove it and run `dpdau evaluate` again") from error
    return document
