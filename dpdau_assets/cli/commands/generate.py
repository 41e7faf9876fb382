"""The command generate-synthetic: a seeded stream of made-up activity, written as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpdau_assets.cli.options import Json, parse_day
from dpdau_assets.cli.output import emit
from dpdau_assets.errors import InputError

if TYPE_CHECKING:
    from dpdau_assets.settings.settings import Settings

STREAMS_README = """# Synthetic streams

Made by `dpdau generate-synthetic`, `simulate` and `adversarial`; nothing in these files is about a person.
The same options give the same file.

"""


def generate_synthetic(
    days: Annotated[int, typer.Option(min=1, max=3_660, help="Number of days.")],
    daily_users: Annotated[int, typer.Option(min=1, max=10_000_000, help="Active users of an average day.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The JSON-lines file to write.")],
    delete_rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of a day's users who ask that day to be erased.")
    ] = 0.0,
    end: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="DAY", help="Last day; default yesterday (UTC).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: DEFAULT_SEED.")] = None,
    as_json: Json = False,
) -> None:
    """Write a stream of made-up activity.

    With a weekly rhythm, churn, returning users and erasure requests.
    """
    from dpdau_assets.evaluation.streams.synthetic import SyntheticStream, users_for
    from dpdau_assets.settings.settings import load_settings

    settings = load_settings()
    last = end or datetime.now(UTC).date() - timedelta(days=1)
    stream = SyntheticStream(
        seed=settings.default_seed if seed is None else seed, users=users_for(daily_users), delete_rate=delete_rate
    )
    events = write_stream(out, (stream.lines(last - timedelta(days=back)) for back in range(days - 1, -1, -1)))
    about = f"{daily_users} daily users, delete rate {delete_rate:g}, seed {stream.seed}"
    note_stream(settings, out, f"{days} days to {last}, {about}")
    document = {"path": str(out), "days": days, "events": events, "seed": stream.seed}
    emit(document, as_json=as_json, text=lambda: f"wrote {events:,} events on {days:,} days to {out}")


def write_stream(path: Path, chunks: Iterable[str]) -> int:
    """Write the chunks of lines to `path`, under a temporary name until they are complete; the number of lines."""
    temporary = path.with_name(f".{path.name}.part")
    events = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            for chunk in chunks:
                events += chunk.count("\n")
                file.write(chunk)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", hint="check --out") from None
    finally:
        temporary.unlink(missing_ok=True)
    return events


def note_stream(settings: Settings, path: Path, line: str) -> None:
    """Keep one line about the stream at `path` in the README of DATA_DIR/streams; streams elsewhere get none."""
    from dpdau_assets.storage.lake.layout import Layout

    folder = path.resolve().parent
    if folder != Layout(settings.root).streams.resolve():
        return
    readme, about = folder / "README.md", path.name
    old = readme.read_text(encoding="utf-8") if readme.is_file() else STREAMS_README
    kept = [row for row in old.splitlines() if not row.startswith(f"- `{about}`:")]
    readme.write_text("\n".join([*kept, f"- `{about}`: {line}"]) + "\n", encoding="utf-8")
