"""The options that several commands share, with the one place where a day on the command line is read."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dpdau_assets.cli.output import warn
from dpdau_assets.errors import NotClosedError, UsageError
from dpdau_assets.settings.written_values import FIRST_YEAR, LAST_YEAR

if TYPE_CHECKING:
    from dpdau_assets.core.quantities import DayRange
    from dpdau_assets.operations.session.workspace import Workspace


def parse_day(text: str) -> date:
    """The day written as `YYYY-MM-DD`; anything else is a usage error."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise typer.BadParameter(f"{text!r} is not a day written as YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day of the calendar") from None
    _check_year(text)
    return day


def parse_month(text: str) -> str:
    """The month written as `YYYY-MM`; anything else is a usage error."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise typer.BadParameter(f"{text!r} is not a month written as YYYY-MM")
    _check_year(text)
    return text


def _check_year(text: str) -> None:
    if not FIRST_YEAR <= int(text[:4]) <= LAST_YEAR:
        raise typer.BadParameter(f"{text!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR}")


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else.")]
Start = Annotated[date, typer.Option("--start", parser=parse_day, metavar="DAY", help="First day, YYYY-MM-DD.")]
End = Annotated[date, typer.Option("--end", parser=parse_day, metavar="DAY", help="Last day, YYYY-MM-DD.")]


def day_range(start: date, end: date) -> DayRange:
    """The days from `start` to `end`, both included.

    Raises:
        UsageError: `end` lies before `start`.
    """
    from dpdau_assets.core.quantities import DayRange

    if end < start:
        raise UsageError(f"--end {end} lies before --start {start}", hint="exchange the two")
    return DayRange(start, end)


def reached_days(workspace: Workspace, start: date, end: date) -> DayRange:
    """As `day_range`, of days whose activity may have come: events are accepted until tomorrow.

    Raises:
        UsageError: `end` lies before `start`.
        NotClosedError: `end` lies after tomorrow.
    """
    days, tomorrow = day_range(start, end), workspace.today() + timedelta(days=1)
    if end > tomorrow:
        raise NotClosedError(f"{end} is still to come", day=end, hint=f"end on {tomorrow} or earlier")
    return days


def open_existing() -> Workspace:
    """The workspace of the current settings; a data folder that was never made is an error, not a new folder."""
    return _open(is_created=False)


def open_or_create() -> Workspace:
    """The workspace of the current settings, made when it is missing."""
    return _open(is_created=True)


def _open(*, is_created: bool) -> Workspace:
    """Open the workspace after telling what is odd about its settings."""
    from dpdau_assets.operations.session.open_workspace import open_workspace
    from dpdau_assets.settings.settings import load_settings, notices

    settings = load_settings()
    for line in notices(settings):
        warn(f"dpdau: note: {line}")
    return open_workspace(settings, create=is_created)
