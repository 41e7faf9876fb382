"""The commands simulate and adversarial: streams with a known law, and streams made against the system."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from dpdau_assets.cli.commands.generate import note_stream, write_stream
from dpdau_assets.cli.options import Json, parse_day
from dpdau_assets.cli.output import emit
from dpdau_assets.errors import UsageError

WINDOWS_LONG = 3
"""Windows that an adversarial stream lasts unless `--days` says otherwise."""

Out = Annotated[Path, typer.Option(metavar="FILE", help="The JSON-lines file to write.")]
LastDay = Annotated[date | None, typer.Option(parser=parse_day, metavar="DAY", help="Last day; default yesterday.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Default: DEFAULT_SEED.")]


def simulate(
    users: Annotated[int, typer.Option(min=1, max=10_000_000, help="Size of the population.")],
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Number of days.")],
    out: Out,
    p_active: Annotated[float, typer.Option(min=0.0, max=1.0, help="Chance of a user to be active on a day.")] = 0.18,
    delete_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of a day's users who ask that day to be erased.")
    ] = 0.0,
    seed: Seed = None,
    end: LastDay = None,
    as_json: Json = False,
) -> None:
    """Write a stream of independent users.

    Each is active on each day with the same chance, so that the expected counts are known.
    """
    from dpdau_assets.evaluation.streams.simulate import SimulatedStream
    from dpdau_assets.settings.settings import load_settings

    settings, last = load_settings(), _last_day(end)
    stream = SimulatedStream(settings.default_seed if seed is None else seed, users, p_active, delete_rate)
    events = write_stream(out, (stream.lines(last - timedelta(days=back)) for back in range(days - 1, -1, -1)))
    about = f"{users} users, p-active {p_active:g}, delete rate {delete_rate:g}"
    note_stream(settings, out, f"simulated, {days} days to {last}, {about}, seed {stream.seed}")
    document = {"path": str(out), "days": days, "events": events, "seed": stream.seed}
    emit(document, as_json=as_json, text=lambda: f"wrote {events:,} events on {days:,} days to {out}")


def adversarial(
    users: Annotated[int, typer.Option(min=1, max=1_000_000, help="Number of users, of five kinds.")],
    out: Out,
    window: Annotated[int | None, typer.Option(min=8, max=63, help="Default: MAU_WINDOW_DAYS.")] = None,
    flips: Annotated[int | None, typer.Option(min=0, help="Changes per window and user. Default: W_BOUND.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3_660, help="Number of days; default three windows.")] = None,
    seed: Seed = None,
    end: LastDay = None,
    as_json: Json = False,
) -> None:
    """Write a stream made against the system.

    Users who flip, who sit on the borders of windows and salt epochs, who come daily, are erased and come back. What
    arrives late is written to a second file, FILE-late, to be ingested after the first.
    """
    from dpdau_assets.core.quantities import DayRange
    from dpdau_assets.evaluation.streams.adversarial import AdversarialStream
    from dpdau_assets.settings.settings import load_settings

    settings, last = load_settings(), _last_day(end)
    length = settings.mau_window_days if window is None else window
    changes = settings.w_bound if flips is None else flips
    if changes > length:
        raise UsageError(f"--flips {changes} do not fit into a window of {length} days", hint="one flip a day at most")
    span = WINDOWS_LONG * length if days is None else days
    stream = AdversarialStream(
        users,
        DayRange(last - timedelta(days=span - 1), last),
        length,
        changes,
        settings.hash_salt_rotation_days,
        settings.default_seed if seed is None else seed,
    )
    late = out.with_name(f"{out.stem}-late{out.suffix}")
    events = [write_stream(out, stream.prompt_lines()), write_stream(late, stream.late_lines())]
    about = f"{span} days to {last}, {users} users, window {length}, flips {changes}, seed {stream.seed}"
    note_stream(settings, out, f"adversarial, {about}")
    note_stream(settings, late, f"what arrives after {out.name}: late users and erasures")
    document = {"paths": [str(out), str(late)], "days": span, "events": events, "seed": stream.seed}
    emit(
        document,
        as_json=as_json,
        text=lambda: f"wrote {events[0]:,} events to {out} and {events[1]:,} that arrive later to {late}",
    )


def _last_day(end: date | None) -> date:
    return end or datetime.now(UTC).date() - timedelta(days=1)
