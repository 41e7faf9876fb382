"""The commands evaluate and plots: what mechanisms, sketches and budgets are worth over a stream, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdau_assets.cli.options import Json, open_existing, parse_day, reached_days
from dpdau_assets.cli.output import EXACT_WARNING, counted, emit, progress_bar, table, warn
from dpdau_assets.errors import InputError, UsageError

if TYPE_CHECKING:
    from dpdau_assets.evaluation.accuracy.prepared_folders import Source

DEFAULT_CAPS = "1,3,6"
LARGEST = 100.0

Out = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Default the experiment's folder in DATA_DIR.")
]


def evaluate(
    stream: Annotated[
        Path | None, typer.Option("--stream", metavar="FILE", help="A file of events; default a simulated stream.")
    ] = None,
    source_format: Annotated[
        str | None, typer.Option("--format", metavar="jsonl|csv|parquet", help="Default: by the file's name.")
    ] = None,
    user_column: Annotated[str | None, typer.Option(help="Column with the user id.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Column with the day or time.")] = None,
    op_column: Annotated[str | None, typer.Option(help="Column with the operation, + or -.")] = None,
    mechanisms: Annotated[str | None, typer.Option(metavar="A,B", help="Default: all.")] = None,
    sketches: Annotated[str | None, typer.Option(metavar="A,B", help="Default: all.")] = None,
    caps: Annotated[str, typer.Option(metavar="X,Y", help="Epsilon of a metric's month.")] = DEFAULT_CAPS,
    epsilons: Annotated[str, typer.Option(metavar="X,Y", help="Epsilon of a release of independent noise.")] = "",
    days: Annotated[int, typer.Option(min=1, max=1000, help="How many of the stream's last days to release.")] = 31,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Plays of each combination, with new noise.")] = 1,
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Users of the simulated stream.")] = 20_000,
    sketch_k: Annotated[int, typer.Option(min=16, max=2**24, help="Size of the sketches.")] = 4096,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Default: DEFAULT_SEED.")] = None,
    is_secure: Annotated[bool, typer.Option("--secure", help="Noise of the real source; not repeatable.")] = False,
    is_quick: Annotated[bool, typer.Option("--quick", help="A few days, users and budgets: seconds.")] = False,
    difference: Annotated[
        str | None,
        typer.Option(metavar="DAYS,DAYS", help="Instead: users of the first days (FIRST..LAST) not of the second."),
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure error, coverage, loss and time.

    Every mechanism with every sketch at every budget, over one stream, through the real release path in temporary
    folders. What is written holds exact counts of the stream: it is for the trusted side.

    With --difference it counts, in the data folder, users of some days who are missing on others: NOT private.
    """
    if difference is not None:
        _show_difference(difference, as_json=as_json)
        return
    from dpdau_assets.evaluation.accuracy.experiments import experiment_folder
    from dpdau_assets.evaluation.accuracy.grid import LONG_HORIZON, RELEASED, SKETCHES
    from dpdau_assets.evaluation.accuracy.results import (
        HEADERS,
        require_same_configuration,
        summary_rows,
        write_results,
    )
    from dpdau_assets.evaluation.accuracy.run import Plan, chosen_budgets, quick, run_evaluation
    from dpdau_assets.settings.settings import load_settings

    settings = load_settings()
    plan = Plan(
        seed=settings.default_seed if seed is None else seed,
        mechanisms=_names(mechanisms, (*RELEASED, *LONG_HORIZON), option="--mechanisms"),
        sketches=_names(sketches, SKETCHES, option="--sketches"),
        budgets=chosen_budgets(_numbers(caps, option="--caps"), _numbers(epsilons, option="--epsilons")),
        days=days,
        repeats=repeats,
        users=users,
        sketch_k=sketch_k,
    )
    folder = out or experiment_folder(settings)
    noise = settings.model_copy(update={"noise_source": "secure" if is_secure else "seeded"})
    with progress_bar() as progress:
        found = run_evaluation(
            noise,
            quick(plan) if is_quick else plan,
            source=_source(stream, source_format, (user_column, time_column, op_column)),
            allow=lambda configuration: require_same_configuration(folder, configuration),
            progress=progress,
        )
    paths = write_results(found, folder)
    document = {
        "seconds": round(found.seconds, 1),
        "combinations": len(summary_rows(found.rows)),
        "unsupported": len(found.unsupported),
        "written": [str(path) for path in paths],
    }
    left_out = counted(len(found.unsupported), "combination")
    closing = f"{left_out} not evaluated; {paths[0]} says more, `dpdau plots` draws"
    emit(document, as_json=as_json, text=lambda: f"{table(HEADERS, summary_rows(found.rows))}\n\n{closing}")


def _show_difference(text: str, *, as_json: bool) -> None:
    """Count the users of some days who are on none of some other days, exactly and as the settings compare."""
    from dpdau_assets.evaluation.accuracy.differences import count_lost_users

    stretches = _stretches(text)
    workspace = open_existing()
    first, second = (reached_days(workspace, *ends) for ends in stretches)
    lost, settings = count_lost_users(workspace, first, second), workspace.settings
    document = {
        "first": f"{first.first}..{first.last}",
        "second": f"{second.first}..{second.last}",
        "exact": lost.exact,
        "bloom_fp_rate": settings.bloom_fp_rate if settings.use_bloom_for_diff else None,
        "estimate": lost.estimate.users,
        "error": lost.estimate.users - lost.exact,
        "predicted_bias": lost.estimate.predicted_bias,
    }
    through = f"through a Bloom filter of rate {settings.bloom_fp_rate:g}: {lost.estimate.users:,.0f} users"
    error = f"error {document['error']:+,.0f}, predicted {lost.estimate.predicted_bias:+,.0f}"
    warn(EXACT_WARNING)
    emit(
        document,
        as_json=as_json,
        text=lambda: (
            f"active {document['first']} and not {document['second']}: {lost.exact:,} users\n"
            + (f"{through}; {error}" if settings.use_bloom_for_diff else "USE_BLOOM_FOR_DIFF=true compares them again")
        ),
    )


def plots(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Results of `dpdau evaluate`; default the experiment's folder."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Default: plots, inside that folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw what `evaluate` measured.

    Error against budget, coverage, time, and released series beside exact counts, as PNG files for the trusted side.
    """
    from dpdau_assets.evaluation.accuracy.experiments import experiment_folder
    from dpdau_assets.evaluation.accuracy.plots import draw_plots
    from dpdau_assets.evaluation.accuracy.results import read_results
    from dpdau_assets.settings.settings import load_settings

    folder = source or experiment_folder(load_settings())
    paths = draw_plots(read_results(folder), out or folder / "plots")
    emit({"written": [str(path) for path in paths]}, as_json=as_json, text=lambda: "\n".join(map(str, paths)))


def _source(stream: Path | None, source_format: str | None, columns: Sequence[str | None]) -> Source | None:
    from dpdau_assets.core.activity import ColumnMapping
    from dpdau_assets.evaluation.accuracy.prepared_folders import Source

    if source_format not in (None, "jsonl", "csv", "parquet"):
        raise UsageError(f"--format {source_format} is unknown", hint="use jsonl, csv or parquet")
    if stream is None:
        return None
    if not stream.is_file():
        raise InputError(f"{stream} is not a file", hint="check --stream")
    user, time, op = columns
    return Source(stream, source_format, ColumnMapping(user=user, time=time, op=op))


def _stretches(text: str) -> list[tuple[date, date]]:
    """First and last day of two stretches, FIRST..LAST,FIRST..LAST; one day may stand for a stretch of itself."""
    stretches = [part.split("..") for part in text.split(",")]
    if len(stretches) != 2 or not all(len(ends) <= 2 and ends[0] <= ends[-1] for ends in stretches):
        raise UsageError(
            f"--difference {text} is not understood",
            hint="give two stretches of days: 2026-01-01..2026-01-07,2026-01-08..2026-01-14",
        )
    return [(parse_day(ends[0]), parse_day(ends[-1])) for ends in stretches]


def _names(text: str | None, known: Sequence[str], *, option: str) -> tuple[str, ...]:
    """Names separated by commas; all of them when nothing is asked for."""
    names = tuple(dict.fromkeys(part.strip() for part in (text or ",".join(known)).split(",") if part.strip()))
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None or not names:
        raise UsageError(f"{option} {text} is not understood", hint=f"choose among {', '.join(known)}")
    return names


def _numbers(text: str, *, option: str) -> tuple[float, ...]:
    """Positive numbers separated by commas, none for an empty text."""
    try:
        values = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        values = (0.0,)
    if not all(1e-3 <= value <= LARGEST for value in values):
        raise UsageError(f"{option} {text} is not understood", hint=f"give numbers from 0.001 to {LARGEST:g}: 1,3,6")
    return values
