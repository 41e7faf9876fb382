"""The command audit: does what leaves a data folder protect people as claimed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpdau_assets.cli.options import Json
from dpdau_assets.cli.output import emit, progress_bar


def audit(
    is_long: Annotated[
        bool, typer.Option("--long", help="Every mechanism and sketch, and more draws; about ten minutes.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to write; default the experiment's folder in DATA_DIR."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Selects the synthetic users' activity.")] = 0,
    as_json: Json = False,
) -> int:
    """Try to tell from released values whether one user is in them.

    In temporary folders with synthetic users: runs with and without a user compared byte by byte, noise fitted to its
    law, guessing games, and faults put in on purpose that must be seen. The exit code is 1 unless all is as claimed.
    """
    from dpdau_assets.evaluation.accuracy.experiments import experiment_folder
    from dpdau_assets.evaluation.audit.run import LONG, SHORT, run_audit
    from dpdau_assets.evaluation.audit.verdict import write_verdict
    from dpdau_assets.settings.settings import load_settings

    settings = load_settings()
    folder = out or experiment_folder(settings) / "audit"
    with progress_bar() as progress:
        found = run_audit(settings, form=LONG if is_long else SHORT, seed=seed, progress=progress)
    paths = write_verdict(found, folder)
    document = {**found.to_json(), "written": [str(path) for path in paths]}
    lines = [*found.findings, f"{'ok: as claimed' if found.ok else 'NOT as claimed'}; the verdict is in {paths[0]}"]
    emit(document, as_json=as_json, text=lambda: "\n".join(lines))
    return 0 if found.ok else 1
