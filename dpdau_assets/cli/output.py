"""How every command speaks: one JSON document or plain text on standard output, errors in one line on standard error.

Only formatting belongs here. Nothing in this module reads settings or opens data.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dpdau_assets.errors import BudgetExhaustedError, CallerError, DpdauError, InputError, NotReleasableError

EXIT_CODES: dict[type[DpdauError], int] = {
    DpdauError: 1,
    CallerError: 2,
    InputError: 3,
    BudgetExhaustedError: 4,
    NotReleasableError: 5,
}
"""The exit code of an error, or of its nearest ancestor here; any other failure exits as DpdauError."""
QUIET_SECONDS = 2.0
"""Work shorter than this shows no progress bar."""

EXACT_WARNING = (
    "dpdau: these counts are EXACT and NOT PRIVATE: anyone who sees them learns about single users. "
    "Keep them on the trusted side; publish `dpdau release` instead."
)

PACKAGE_ROOT = Path(__file__).resolve().parent.parent


def say(line: str = "") -> None:
    """Print one line on standard output."""
    sys.stdout.write(f"{line}\n")


def warn(line: str) -> None:
    """Print one line on standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"{line}\n")


def wait_line(line: str) -> None:
    """Print, for a person at a terminal, what this process waits for."""
    if sys.stderr.isatty():
        warn(f"dpdau: {line}")


def emit(document: Any, *, as_json: bool, text: Callable[[], str]) -> None:
    """Print `document` as one JSON document, or else what `text` makes of it.

    Args:
        document: Anything of dicts, lists, dates, numbers and text.
        as_json: Whether the command was given `--json`.
        text: Called only when it is needed.
    """
    say(json.dumps(document, ensure_ascii=False, default=str, allow_nan=False) if as_json else text())


def exit_code_of(kind: type[DpdauError]) -> int:
    """The exit code of a kind of error."""
    return next(EXIT_CODES[each] for each in kind.__mro__ if each in EXIT_CODES)


def fail(error: DpdauError, *, as_json: bool) -> int:
    """Print `error` on standard error and return its exit code."""
    return fail_with(error.code, error.message, error.hint, exit_code=exit_code_of(type(error)), as_json=as_json)


def fail_with(code: str, message: str, hint: str, *, exit_code: int = EXIT_CODES[DpdauError], as_json: bool) -> int:
    """Print an error as `{"error", "message", "hint"}` or as one line, and return `exit_code`."""
    message, hint = " ".join(message.split()).rstrip("."), " ".join(hint.split())
    if as_json:
        warn(json.dumps({"error": code, "message": message, "hint": hint}, ensure_ascii=False))
    else:
        warn(f"dpdau: {message}; {hint}" if hint else f"dpdau: {message}")
    return exit_code


def where_it_broke(fault: BaseException) -> str:
    """The frames of this package that led to `fault`, innermost first, without any value of the data."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(fault.__traceback__)
        if Path(frame.filename).is_relative_to(PACKAGE_ROOT)
    ]
    return " < ".join(reversed(frames[-4:])) or "outside this package"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under headers, the first column aligned left and all others right."""
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (headers, *rows)
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """A count with thousands separated by commas and at most one decimal."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which takes an s unless the count is 1."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def estimate_with_interval(body: Mapping[str, Any]) -> str:
    """The estimate of a release body with its 95 % interval, marked when it is only a lower bound."""
    mark = "at least " if body["is_lower_bound"] else ""
    return f"{mark}{number(body['estimate'])} [{number(body['lower_95'])}, {upper_bound(body)}]"


class ProgressBar:
    """A progress bar on standard error: only on a terminal, only once work has lasted `QUIET_SECONDS`."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._is_wanted = sys.stderr.isatty()

    def __call__(self, label: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of `label` are finished."""
        if not self._is_wanted or self._clock() - self._started_at < QUIET_SECONDS:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
        if label not in self._tasks:
            self._tasks[label] = self._bar.add_task(label, total=total)
        self._bar.update(self._tasks[label], completed=done, total=total)

    @property
    def is_shown(self) -> bool:
        """Whether the bar is on the screen."""
        return self._bar is not None

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def progress_bar() -> Iterator[ProgressBar]:
    """A progress bar that leaves the screen clean whatever happens inside."""
    bar = ProgressBar()
    try:
        yield bar
    finally:
        bar.close()


def upper_bound(body: Mapping[str, Any]) -> str:
    """The upper end of a release's interval; a full sketch says nothing about how many more there are."""
    return "no upper bound" if body["upper_95"] is None else number(body["upper_95"])
