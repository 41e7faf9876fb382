"""Commands of proof: verify, certificate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dpdau_assets.cli.options import Json, open_existing
from dpdau_assets.cli.output import emit, progress_bar, warn


def verify(as_json: Json = False) -> int:
    """Look for everything that must not be in the data folder.

    Erased users in any file, damaged, missing and unknown files, charges and caps that do not agree. Nothing is
    changed; every finding names the command that repairs it. The exit code is 1 unless all is well.
    """
    from dpdau_assets.operations.verify.verify import verify_folder
    from dpdau_assets.settings.settings import load_settings, notices

    settings = load_settings()
    for line in notices(settings):
        warn(f"dpdau: note: {line}")
    with progress_bar() as progress:
        found = verify_folder(settings, progress=progress)
    document = found.to_json()
    emit(document, as_json=as_json, text=lambda: verification_text(document))
    return 0 if found.ok else 1


def verification_text(document: dict[str, Any]) -> str:
    """A verification in words, the verdict last."""
    lines = []
    for finding in document["findings"]:
        lines.append(f"{finding['kind']}: {finding['place']}: {finding['message']}")
        lines.append(f"    repair: {finding['repair']}")
    lines += [f"pending: {line}" for line in document["pending"]]
    lines += [f"note: {line}" for line in document["notes"]]
    number = len(document["findings"])
    verdict = "ok: nothing is wrong" if document["ok"] else f"NOT ok: {number} finding{'s' if number > 1 else ''}"
    return "\n".join([*lines, verdict])


def certificate(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="A request's name, as `dpdau erasures` lists it.")],
    as_json: Json = False,
) -> None:
    """Certify that the users of a request are gone.

    Verifies the whole data folder first; printed and written to reports/certificates.
    """
    from dpdau_assets.operations.verify.certificate import certify

    with progress_bar() as progress:
        document = certify(open_existing(), request, progress=progress)
    emit(document.to_json(), as_json=as_json, text=document.text)
