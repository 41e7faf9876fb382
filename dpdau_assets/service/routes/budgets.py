"""The privacy budget of a metric."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from dpdau_assets.core.quantities import Metric
from dpdau_assets.service.auth import Caller, Scope, needs
from dpdau_assets.service.folder import Folder
from dpdau_assets.service.routes.parameters import MetricName
from dpdau_assets.service.schemas import Budget, answers, one_of
from dpdau_assets.settings.settings import Day

router = APIRouter(tags=["budget"])


@router.get(
    "/budget/{metric}",
    response_class=JSONResponse,
    responses={200: one_of(Budget), **answers(401, 422, 500, 503)},
)
async def budget(
    request: Request,
    metric: MetricName,
    caller: Annotated[Caller, Depends(needs(Scope.READ))],
    day: Annotated[Day | None, Query(description="A day of the month, YYYY-MM-DD; default: today.")] = None,
) -> Response:
    """What a metric has spent of the month of `day`, by every accounting method, and what still fits."""
    del caller
    return JSONResponse(await run_in_threadpool(_document, request.app.state.folder, metric, day))


def _document(folder: Folder, metric: Metric, day: date | None) -> dict[str, Any]:
    return folder.budgets.of_day(metric, day or folder.workspace.today())
