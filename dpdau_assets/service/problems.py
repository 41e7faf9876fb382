"""How every failure leaves the service: one status for each kind, one shape of document (RFC 9457).

Belongs here: the table from errors to statuses, and the documents. A document repeats no input, no id and no path; what
an operator needs stands in the log, which names places in the code and no value.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dpdau_assets.errors import (
    BudgetExhaustedError,
    CallerError,
    DataError,
    DpdauError,
    InputError,
    InternalError,
    NotReleasableError,
    OperatorError,
    Refusal,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
PACKAGE_ROOT = Path(__file__).resolve().parent.parent
RETRY_SECONDS = 30
"""After how long a service that cannot work now is worth another try."""
CHALLENGE = 'ApiKey realm="dpdau", header="X-API-Key"'
"""What WWW-Authenticate says: there is no registered scheme for a key in a header of its own."""

STATUSES: Mapping[type[DpdauError], int] = {
    BudgetExhaustedError: 429,
    NotReleasableError: 409,
    UsageError: 422,
    InputError: 422,
    CallerError: 422,
    OperatorError: 503,
    DataError: 503,
    InternalError: 500,
    DpdauError: 500,
}
"""The status of an error, or of its nearest ancestor here."""
HINTS = {
    404: "the paths are listed under /docs",
    405: "the header Allow names the methods of this path",
    500: "a fault of dpdau: its operator finds the place in the service's log",
    503: "the operator finds the reason in the service's log; /readyz names the part concerned",
}

log = logging.getLogger("dpdau.service")


class NotReleasedError(CallerError):
    """There is no value, and whoever asks may not have it made."""

    code = "not_released"


def status_of(error: DpdauError) -> int:
    """The status of an error of this package."""
    if isinstance(error, NotReleasedError):
        return 404
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(
    status: int, error: str, detail: str, *, hint: str = "", headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """A problem document.

    Args:
        status: HTTP status.
        error: The code that programs compare.
        detail: One line: what is wrong.
        hint: One line: what to do.
        headers: Further headers.
        more: Further members.
    """
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": " ".join(detail.split()),
        "error": error,
        "hint": " ".join(hint.split()),
        **more,
    }
    return _answer(status, document, headers)


def unauthorized() -> Response:
    """The answer to a key that is missing or opens something else."""
    return problem(
        401,
        "unauthorized",
        "this needs a key that opens it",
        hint="send one in the header X-API-Key; without any key the service answers on loopback only",
        headers={"WWW-Authenticate": CHALLENGE},
    )


def unavailable(error: str = "unavailable") -> Response:
    """The fixed answer of a service that cannot work now."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem(503, error, "the service cannot answer now", hint=HINTS[503], headers=headers)


def broken() -> Response:
    """The fixed answer to a fault of our own."""
    return problem(500, "internal", "the service failed to answer", hint=HINTS[500])


def exhausted(refusal: Refusal, budget: Mapping[str, Any]) -> Response:
    """The answer to a release that no budget is left for. No Retry-After: waiting does not refill a budget.

    Args:
        refusal: Why it was refused.
        budget: The budget document of the metric and month.
    """
    document = {
        "error": BudgetExhaustedError.code,
        "metric": refusal.metric,
        "period": refusal.period,
        "epsilon_spent": refusal.epsilon_spent,
        "epsilon_cap": refusal.epsilon_cap,
        "epsilon_remaining": max(0.0, refusal.epsilon_cap - refusal.epsilon_spent),
        "budget_remaining": 0,
        "next_reset": None,
        "next_funded_day": refusal.next_funded_day and refusal.next_funded_day.isoformat(),
        "budget": budget,
    }
    return _answer(429, document)


async def on_dpdau_error(request: Request, error: Exception) -> Response:
    """The document of an error of this package: a caller's in its own words, any other in fixed ones."""
    del request
    fault = cast(DpdauError, error)
    status = status_of(fault)
    if isinstance(fault, CallerError):
        return problem(status, fault.code, fault.message, hint=fault.hint)
    log.error("%s: %s; %s (at %s)", fault.code, fault.message, fault.hint, where_it_broke(fault))
    return unavailable(fault.code) if status == 503 else broken()


async def on_bad_request(request: Request, error: Exception) -> Response:
    """422 with the name of the first field that is wrong, and what it must be."""
    del request
    first = cast(RequestValidationError, error).errors()[0]
    field = str(first["loc"][-1])
    reason = str(first["msg"]).removeprefix("Value error, ")
    is_missing = first["type"] == "missing"
    detail = f"{field} is missing" if is_missing else f"{field}: {reason}"
    return problem(422, "bad_input", detail, hint=f"correct {field}; /docs shows an example", field=field)


async def on_http_error(request: Request, error: Exception) -> Response:
    """No such path, or no such method of it."""
    del request
    refusal = cast(HTTPException, error)
    status = refusal.status_code
    if status == 401:
        return unauthorized()
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "refused")
    return problem(status, code, HTTPStatus(status).phrase, hint=HINTS.get(status, ""), headers=refusal.headers)


def where_it_broke(fault: BaseException) -> str:
    """The frames of this package that led to `fault`, innermost first, without any value."""
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(fault.__traceback__)
        if Path(frame.filename).is_relative_to(PACKAGE_ROOT)
    ]
    return " < ".join(reversed(frames[-4:])) or "outside this package"


def _answer(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return Response(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)
