"""Released values: one of a day, or many as JSON or CSV.

Belongs here: what a question must look like, and in which order it is decided: the stored value first, then the
calendar, then whether the caller may have a release made, then the budget. Only after all of these is data read.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from dpdau_assets.core.quantities import Metric
from dpdau_assets.errors import Refusal
from dpdau_assets.operations.exports.export_metrics import metrics_csv
from dpdau_assets.operations.exports.stored_values import stored_values
from dpdau_assets.operations.session.calendar import last_closed_day
from dpdau_assets.service.auth import Caller, Scope, needs
from dpdau_assets.service.folder import Answer, Folder
from dpdau_assets.service.problems import exhausted, problem
from dpdau_assets.service.routes.parameters import MetricName
from dpdau_assets.service.schemas import LISTED, ListedValue, Value, answers, one_of, text
from dpdau_assets.settings.settings import Day

router = APIRouter(tags=["values"])
Reader = Annotated[Caller, Depends(needs(Scope.READ))]
End = Annotated[Day | None, Query(description="Last day of the window, YYYY-MM-DD; default: the last closed day.")]
CSV = text("text/csv", "Released values", "{}\n{}\n".format(",".join(LISTED), ",".join(map(str, LISTED.values()))))
AS_JSON = one_of(ListedValue, is_list=True)
LISTED_ANSWER = {**AS_JSON, "content": {**AS_JSON["content"], **CSV["content"]}}
RESPONSES: dict[int | str, dict[str, Any]] = {200: one_of(Value), **answers(401, 404, 409, 422, 429, 500, 503)}


@router.get("/dau/{day}", response_class=JSONResponse, responses=RESPONSES)
async def dau(request: Request, day: Day, caller: Reader) -> Response:
    """Daily active users of a day, released now if the caller may and it can be, else as it was released."""
    return await _value(request, "dau", day, caller)


@router.get("/wau", response_class=JSONResponse, responses=RESPONSES)
async def wau(request: Request, caller: Reader, end: End = None) -> Response:
    """Weekly active users of the 7 days to `end`."""
    return await _value(request, "wau", end, caller)


@router.get("/mau", response_class=JSONResponse, responses=RESPONSES)
async def mau(
    request: Request,
    caller: Reader,
    end: End = None,
    window: Annotated[int | None, Query(description="MAU_WINDOW_DAYS; no other window is released.")] = None,
) -> Response:
    """Monthly active users of the MAU_WINDOW_DAYS days to `end`."""
    days = _folder(request).workspace.settings.mau_window_days
    if window not in (None, days):
        return problem(
            422,
            "bad_input",
            f"window: only the window of {days} days is released",
            hint=f"leave window out, or give {days}",
            field="window",
        )
    return await _value(request, "mau", end, caller)


@router.get(
    "/releases",
    response_class=JSONResponse,
    responses={200: LISTED_ANSWER, **answers(401, 422, 500, 503)},
)
async def releases(
    request: Request,
    caller: Reader,
    metric: Annotated[MetricName | None, Query(description="Default: all three.")] = None,
    start: Annotated[Day | None, Query(description="First day, YYYY-MM-DD.")] = None,
    end: Annotated[Day | None, Query(description="Last day, YYYY-MM-DD.")] = None,
    format_: Annotated[
        Literal["json", "csv"] | None, Query(alias="format", description="Default: as the header Accept asks.")
    ] = None,
) -> Response:
    """Released values by day and metric, the latest revision of each, without their budgets; never makes a release."""
    del caller
    if start is not None and end is not None and end < start:
        return problem(422, "bad_input", "end lies before start", hint="exchange the two", field="end")
    found = await run_in_threadpool(stored_values, _folder(request).workspace, metric=metric, first=start, last=end)
    is_csv = format_ == "csv" if format_ else _prefers_csv(request.headers.get("accept", ""))
    if is_csv:
        content = await run_in_threadpool(metrics_csv, found)
        headers = {"Content-Disposition": 'attachment; filename="releases.csv"', "Vary": "Accept"}
        return Response(content, media_type="text/csv", headers=headers)
    return JSONResponse([result.public_fields() for result in found], headers={"Vary": "Accept"})


def _prefers_csv(accept: str) -> bool:
    """Whether CSV stands in Accept and JSON does not, or only after it."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if "text/csv" not in kinds:
        return False
    return "application/json" not in kinds or kinds.index("text/csv") < kinds.index("application/json")


async def _value(request: Request, metric: Metric, day: date | None, caller: Caller) -> Response:
    folder = _folder(request)
    decided = await run_in_threadpool(_decide, folder, metric, day, caller)
    answer = await asyncio.wrap_future(decided) if isinstance(decided, Future) else decided
    if isinstance(answer, Refusal):
        return exhausted(answer, await run_in_threadpool(folder.budgets.of_month, answer.metric, answer.day))
    return Response(answer, media_type="application/json")


def _decide(folder: Folder, metric: Metric, day: date | None, caller: Caller) -> Answer | Future[Answer]:
    """What is stored, or what waits for a release; every refusal by calendar or key is raised before data is read."""
    if day is None:
        day = last_closed_day(folder.workspace.settings, folder.workspace.now())
    found = folder.look_up(metric, day)
    if isinstance(found, bytes):
        return found
    folder.require_releasable(day, may_release=caller.may_release)
    return found or folder.release(metric, day)


def _folder(request: Request) -> Folder:
    folder: Folder = request.app.state.folder
    return folder
