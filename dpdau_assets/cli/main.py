"""The entry point: which commands exist, and how each kind of failure leaves the process.

Exit codes: 0 done, 2 usage, 3 bad input, 4 budget exhausted, 5 not closed or outside the series, 1 anything else.
An interrupt ends the process by the signal itself, as a shell loop expects.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer
from typer.exceptions import TyperException

from dpdau_assets import __version__
from dpdau_assets.cli.commands import (
    audit,
    budget,
    erase,
    evaluate,
    generate,
    ingest,
    plan,
    recovery,
    release,
    retention,
    salts,
    status,
    streams,
    verify,
)
from dpdau_assets.cli.launch import serve
from dpdau_assets.cli.output import exit_code_of, fail, fail_with, say, wait_line, where_it_broke
from dpdau_assets.errors import DpdauError, UsageError
from dpdau_assets.operations.session.progress import waits_shown_by

INTERRUPTED = 130

app = typer.Typer(
    name="dpdau",
    help="Daily, weekly and monthly active users with a differential-privacy guarantee that honour every erasure.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
COMMANDS: dict[str, Callable[..., Any]] = {
    "init": ingest.init,
    "ingest": ingest.ingest,
    "discard-batch": ingest.discard,
    "rebuild": ingest.rebuild,
    "erase": erase.erase,
    "erasures": erase.erasures,
    "flush-deletes": erase.flush,
    "release": release.release,
    "dau": release.dau,
    "wau": release.wau,
    "mau": release.mau,
    "export": release.export,
    "report": release.report,
    "budget": budget.budget,
    "reset-budget": budget.reset,
    "status": status.status,
    "settings": status.show_settings,
    "trusted-counts": status.trusted_counts,
    "verify": verify.verify,
    "certificate": verify.certificate,
    "backup": recovery.backup,
    "restore": recovery.restore,
    "rotate-salt": salts.rotate_salt,
    "apply-retention": retention.apply,
    "generate-synthetic": generate.generate_synthetic,
    "simulate": streams.simulate,
    "adversarial": streams.adversarial,
    "serve": serve.serve,
    "audit": audit.audit,
    "evaluate": evaluate.evaluate,
    "plots": evaluate.plots,
    "plan": plan.plan,
}
for command_name, command in COMMANDS.items():
    app.command(command_name)(command)
app.add_typer(salts.app, name="salts")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(f"dpdau {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and stop."
    ),
) -> None:
    """Daily, weekly and monthly active users with a differential-privacy guarantee that honour every erasure."""


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` stands among the options of the command line."""
    options = list(arguments)
    return "--json" in (options[: options.index("--")] if "--" in options else options)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing but an interrupt ever leaves this function."""
    as_json = wants_json(arguments)
    return guarded(
        lambda: app(list(arguments) or ["--help"], prog_name="dpdau", standalone_mode=False), as_json=as_json
    )


def guarded(action: Callable[[], Any], *, as_json: bool) -> int:
    """The exit code after `action`: every failure becomes one line without a traceback or a value of the data."""
    try:
        with waits_shown_by(wait_line):
            result = action()
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except DpdauError as error:
        return fail(error, as_json=as_json)
    except TyperException as error:
        return fail_with(
            "usage", error.format_message(), _help_hint(error), exit_code=exit_code_of(UsageError), as_json=as_json
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except MemoryError:
        return fail_with("storage", "out of memory", "ingest smaller files", as_json=as_json)
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno else type(fault).__name__
        message = f"the machine refused: {reason} (at {where_it_broke(fault)})"
        return fail_with("storage", message, "look at disk space and permissions", as_json=as_json)
    except Exception as fault:  # noqa: BLE001 - the edge: whatever it is, a user gets one line
        message = f"unexpected {type(fault).__name__} at {where_it_broke(fault)}"
        return fail_with("internal", message, "a fault of dpdau: report this line", as_json=as_json)


def _help_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"try `{context.command_path if context else 'dpdau'} --help`"


def leave(code: int) -> NoReturn:
    """End the process with `code`; after an interrupt by the signal itself."""
    if code == INTERRUPTED:
        fail_with("interrupted", "interrupted", "the same command can be given again", as_json=False)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    sys.exit(code)


def main() -> None:
    """What the console script `dpdau` calls."""
    leave(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
