"""The process that `dpdau serve` becomes: uvicorn with one or more workers, ended by SIGTERM.

    python -m dpdau_assets.service.server --host 127.0.0.1 --port 8000 --workers 1

Belongs here: how the server runs. Keys and folders were checked by the command before it became this.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from dpdau_assets.service.app import create_app
from dpdau_assets.settings.settings import load_settings

FACTORY = "dpdau_assets.service.server:application"


def application() -> FastAPI:
    """The application of a worker, by its own reading of the settings."""
    return create_app(load_settings())


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; what was taken is answered first."""
    parser = argparse.ArgumentParser(prog="dpdau serve")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--reload", action="store_true")
    parser.add_argument("--counts", type=Path, required=True, help="the folder in which workers share their counts")
    options = parser.parse_args(arguments)
    # uvicorn ends as it was told to and then raises the signal again, for whoever waits for it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        uvicorn.run(
            FACTORY,
            factory=True,
            host=options.host,
            port=options.port,
            workers=None if options.reload else options.workers,
            reload=options.reload,
            reload_dirs=[str(Path(__file__).resolve().parent.parent)] if options.reload else None,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
        )
    except SystemExit as end:
        sys.exit(1 if end.code else 0)  # uvicorn's own codes mean other things than ours
    finally:
        shutil.rmtree(options.counts, ignore_errors=True)


if __name__ == "__main__":
    main()
