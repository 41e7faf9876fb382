"""Puts the service together: routes, keys, the shape of failures, metrics, and the folder that opens with it.

Belongs here: what belongs to the application as a whole. A further router is added to `ROUTERS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from dpdau_assets import __version__
from dpdau_assets.errors import DpdauError
from dpdau_assets.service.auth import Keys
from dpdau_assets.service.folder import Folder
from dpdau_assets.service.metrics import Measured
from dpdau_assets.service.problems import on_bad_request, on_dpdau_error, on_http_error
from dpdau_assets.service.routes import budgets, documentation, health, values
from dpdau_assets.service.schemas import fill_in
from dpdau_assets.settings.settings import Settings

ROUTERS = (values.router, budgets.router, health.router, documentation.router)
TITLE = "Private active-user counts"
DESCRIPTION = (
    "Daily, weekly and monthly active users with a differential-privacy guarantee. A value is released once and stays: "
    "the same question gives the same answer. Failures are problem documents (RFC 9457) with `error` and `hint`."
)


def create_app(settings: Settings) -> FastAPI:
    """The service over the data folder of `settings`, which is opened when the application starts.

    Args:
        settings: All settings; the folder exists.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        folder = await run_in_threadpool(Folder, settings)
        app.state.folder = folder
        try:
            yield
        finally:
            await run_in_threadpool(folder.close)

    app = FastAPI(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.keys = Keys(settings)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(DpdauError, on_dpdau_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_middleware(Measured)
    app.openapi = lambda: _description(app)  # type: ignore[method-assign]
    return app


def _description(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        fill_in(document)
        app.openapi_schema = document
    return app.openapi_schema
