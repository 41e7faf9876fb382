"""Whether the service lives, whether it is ready, and its metrics.

Belongs here: answers for load balancers and monitoring. /healthz and /readyz are open and say public facts only.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dpdau_assets.service.auth import Caller, Scope, needs
from dpdau_assets.service.metrics import exposition
from dpdau_assets.service.problems import RETRY_SECONDS, problem
from dpdau_assets.service.schemas import Health, answers, one_of, text

router = APIRouter(tags=["health"])
METRICS_ANSWER = text("text/plain", "Prometheus' text format", "dpdau_erasures_pending 0.0\n")


@router.get("/healthz", response_class=JSONResponse, responses={200: one_of(Health), **answers(500)})
async def healthz() -> Response:
    """The process answers; nothing else is looked at."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", response_class=JSONResponse, responses={200: one_of(Health), **answers(500, 503)})
async def readyz(request: Request) -> Response:
    """Ledger, disk and salts work and budgets are computed; else 503 with the reason for each that does not."""
    reasons = await run_in_threadpool(request.app.state.folder.reasons_not_ready)
    if reasons:
        detail = "; ".join(f"{part}: {reason}" for part, reason in reasons.items())
        headers = {"Retry-After": str(RETRY_SECONDS)}
        hint = "the operator finds more in the service's log and by `dpdau verify`"
        return problem(503, "not_ready", detail, hint=hint, headers=headers, reasons=reasons)
    return JSONResponse({"status": "ok"})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: METRICS_ANSWER, **answers(401, 500, 503)},
)
async def metrics(request: Request, caller: Annotated[Caller, Depends(needs(Scope.METRICS))]) -> Response:
    """Requests, releases, budgets, erasures that wait and days reached, in Prometheus' text format."""
    del caller
    content = await run_in_threadpool(exposition, request.app.state.folder)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})
