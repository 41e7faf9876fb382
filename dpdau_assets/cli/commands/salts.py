"""Commands of the pseudonyms' secrets: rotate-salt, salts, salts export, salts import. No secret is ever printed."""

from __future__ import annotations

import getpass
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from dpdau_assets.cli.options import Json, open_existing, open_or_create, parse_day
from dpdau_assets.cli.output import emit, table, warn
from dpdau_assets.errors import UsageError

SECRET_OPTION, PASSPHRASE_OPTION = "--secret", "--passphrase"
Passphrase = Annotated[
    str | None, typer.Option(PASSPHRASE_OPTION, metavar="-", help="`-` reads it from standard input; else it is asked.")
]


def rotate_salt(
    effective: Annotated[
        date, typer.Option("--effective", parser=parse_day, metavar="DAY", help="First day of the new epoch.")
    ],
    secret: Annotated[
        str | None,
        typer.Option(SECRET_OPTION, metavar="-|b64:...", help="Derive the new secret from this; default: random."),
    ] = None,
    rotation_days: Annotated[
        int | None, typer.Option("--rotation-days", min=1, max=36_500, help="Days an epoch lasts from then on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start a new salt epoch with a new secret.

    From a day on that is later than every day held, staged or erased. Counts stay exact across it.
    """
    given = _secret(secret)
    from dpdau_assets.operations.lifecycle.rotate_salt import rotate_salt as rotate

    workspace = open_or_create()
    setting = workspace.settings.hash_salt_rotation_days
    done = rotate(workspace, effective, secret=given, rotation_days=rotation_days)
    workspace.close()
    record = done.record
    document = {
        "effective": record.effective,
        "epoch": record.epoch,
        "rotation_days": record.rotation_days,
        "fingerprint": record.fingerprint,
        "already_made": done.is_repeat,
    }
    emit(document, as_json=as_json, text=lambda: _rotation(document))
    warn("dpdau: note: copy the line of reports/rotations.md, and make a new `dpdau salts export`")
    if record.rotation_days != setting:
        warn(f"dpdau: note: set HASH_SALT_ROTATION_DAYS={record.rotation_days} now: other values are refused")


def _rotation(document: dict[str, Any]) -> str:
    """A rotation in words."""
    state = "was made before; nothing changed" if document["already_made"] else "is made"
    return (
        f"the rotation from {document['effective']} on {state}: epoch {document['epoch']}, "
        f"{document['rotation_days']} days an epoch, fingerprint {document['fingerprint']}"
    )


def _secret(text: str | None) -> bytes | None:
    """The given secret; plain text on a command line would be seen by every user of the machine."""
    if text is None:
        return None
    from dpdau_assets.settings.written_values import secret_from_text

    if text == "-":
        return secret_from_text(_first_line("the secret"), name="the secret")
    if not text.startswith("b64:"):
        raise UsageError(f"{SECRET_OPTION} takes - or b64:...", hint=f"{SECRET_OPTION} - reads it from standard input")
    return secret_from_text(text, name="the secret")


def _first_line(what: str) -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed", hint=f"pipe {what} into it")
    try:
        return sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"{what} on standard input is not UTF-8", hint="write it as b64:...") from None


def _passphrase(option: str | None, *, is_new: bool) -> str:
    if option == "-":
        return _first_line("the passphrase")
    if option is not None:
        raise UsageError(
            f"{PASSPHRASE_OPTION} takes - only", hint="on a command line every user of the machine could read it"
        )
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask for the passphrase", hint=f"pipe it and add {PASSPHRASE_OPTION} -"
        )
    first = getpass.getpass("passphrase: ")
    if is_new and getpass.getpass("again: ") != first:
        raise UsageError("the two passphrases differ", hint="nothing was written; try again")
    return first


def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the salt store, export it, import it.

    Without a further word: its fingerprint, epochs and rotations; never a secret.
    """
    if context.invoked_subcommand is not None:
        return
    from dpdau_assets.operations.lifecycle.salt_copies import describe_salts

    document = describe_salts(open_existing())
    emit(document, as_json=as_json, text=lambda: _store(document))


def _store(document: dict[str, Any]) -> str:
    """The store in words."""
    facts = [
        ("fingerprint", document["fingerprint"]),
        ("epoch today", f"{document['epoch']}: {document['epoch_first_day']} to {document['epoch_last_day']}"),
        ("lowest epoch left", f"{document['lowest_epoch']}: from {document['lowest_epoch_first_day']}"),
        ("days an epoch lasts", document["rotation_days"]),
    ]
    lines = "\n".join(f"{name:<22}{fact}" for name, fact in facts)
    if not document["rotations"]:
        return f"{lines}\nno manual rotation"
    rows = [tuple(str(one[name]) for name in one) for one in document["rotations"]]
    return f"{lines}\n\n{table(('made at', 'effective', 'epoch', 'days', 'fingerprint'), rows)}"


def export(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A file that does not exist yet.")],
    passphrase: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Write an encrypted copy of the salt store.

    Readable with its passphrase only. Without the store nothing stored can be continued: keep a copy elsewhere.
    """
    from dpdau_assets.operations.lifecycle.salt_copies import export_salts

    fingerprint = export_salts(open_existing(), out, _passphrase(passphrase, is_new=True))
    document = {"file": str(out), "fingerprint": fingerprint}
    emit(document, as_json=as_json, text=lambda: f"{out}: the store with fingerprint {fingerprint}, encrypted")


def import_file(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A file made by `dpdau salts export`.")],
    passphrase: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Bring an exported salt store back.

    Only the store that the stored pseudonyms were made with; epochs that were destroyed stay destroyed.
    """
    from dpdau_assets.operations.lifecycle.salt_copies import import_salts
    from dpdau_assets.settings.settings import load_settings

    done = import_salts(load_settings(), source, _passphrase(passphrase, is_new=False))
    document = {"fingerprint": done.fingerprint, "lowest_epoch": done.lowest_epoch, "unchanged": done.is_unchanged}
    state = "the folder has this store already" if done.is_unchanged else "the store is back"
    emit(document, as_json=as_json, text=lambda: f"{state}: fingerprint {done.fingerprint}")


app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
app.callback()(show)
app.command("export")(export)
app.command("import")(import_file)
