"""The command that serves counts over HTTP: serve."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from typing import Annotated

import typer

from dpdau_assets.cli.options import Json, open_existing
from dpdau_assets.cli.output import emit
from dpdau_assets.errors import OperatorError, UsageError
from dpdau_assets.settings.settings import child_environment

COUNTS = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus-client shares the counts of several processes."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; one beyond loopback needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    reload: Annotated[bool, typer.Option("--reload", help="Start again whenever the package's code changes.")] = False,
    as_json: Json = False,
) -> None:
    """Serve released values, budgets and metrics over HTTP.

    Until SIGTERM or Ctrl-C. Without a key only on loopback; the API is described at /docs.
    """
    from dpdau_assets.service.auth import has_a_key, is_loopback

    workspace = open_existing()
    settings = workspace.settings
    workspace.close()
    if not is_loopback(host) and not has_a_key(settings):
        raise UsageError(
            f"--host {host} is beyond loopback and no key is set, so that anybody could ask",
            hint="set SERVICE_API_KEY, or READ_API_KEY for readers alone",
        )
    _require_free(host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    document = {"url": url, "docs": f"{url}/docs", "workers": workers}
    emit(document, as_json=as_json, text=lambda: f"serving {url}, described at {url}/docs; stop with Ctrl-C")
    sys.stdout.flush()
    counts = tempfile.mkdtemp(prefix="dpdau-counts-")
    options = ["--host", host, "--port", str(port), "--workers", str(workers), "--counts", counts]
    command = [sys.executable, "-m", "dpdau_assets.service.server", *options, *(["--reload"] if reload else [])]
    os.execve(sys.executable, command, child_environment(keep_settings=True, **{COUNTS: counts}))


def _require_free(host: str, port: int) -> None:
    """Raises OperatorError unless somebody may listen on this address now."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (os.strerror(error.errno) if error.errno and error.errno > 0 else "no such address").lower()
        raise OperatorError(
            f"nobody can listen on {host} port {port}: {reason}", hint="choose another --port"
        ) from error
