"""The documents that the service answers with, and an example of each status, for the OpenAPI description.

Belongs here: shapes. Routes answer with documents of operations as they are; tests hold them against these models.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from dpdau_assets import __version__
from dpdau_assets.service.problems import MEDIA_TYPE

REFERENCE = "#/components/schemas/{model}"
Day = str
"""A day as `YYYY-MM-DD`."""


class Document(BaseModel):
    """A document without members beyond those named."""

    model_config = ConfigDict(extra="forbid")


class Bound(Document):
    """A proven statement: what was released is (epsilon, delta)-DP."""

    epsilon: float
    delta: float


class Bounds(Document):
    """The bound of each accounting method; null where it does not hold at the budget's delta."""

    naive: Bound | None
    advanced: Bound | None
    rdp: Bound | None
    pld: Bound | None


class OrderBound(Document):
    """The epsilon that one order of Renyi accounting proves."""

    order: float
    epsilon: float


class Policy(Document):
    """How budgets are divided."""

    period: str
    mechanism: str
    epsilon_cap: float
    month_cap: float
    trailing_365d_cap: float
    refilled: str


class Budget(Document):
    """The state of a metric's budget in a month; from `rdp_orders` on under the earlier implementation's names."""

    metric: Literal["dau", "wau", "mau", "joint"] = Field(description="`joint`: all three metrics share one budget.")
    period: str
    epsilon_cap: float
    epsilon_spent: float
    epsilon_remaining: float
    budget_remaining: float = Field(description="0 when not even one more release fits.")
    delta: float
    bounds: Bounds
    best_rdp_order: float | None
    release_count: int
    releases_remaining: int | None
    next_funded_day: Day | None
    resets: int
    trailing_365d_epsilon: float
    lifetime_epsilon: float
    rdp_orders: list[float]
    best_rdp_epsilon: float | None
    rdp_curve: list[OrderBound]
    advanced_epsilon: float | None
    advanced_delta: float | None
    policy: Policy


class ListedValue(Document):
    """A released value: a private estimate with its interval. Never an exact count."""

    metric: Literal["dau", "wau", "mau"]
    day: Day = Field(description="Last day of the window.")
    window_days: int
    window_complete: bool
    days_in_window: int
    estimate: float
    lower_95: int
    upper_95: int | None = Field(description="null: nothing is known above.")
    is_lower_bound: bool
    epsilon_used: float | None = Field(description="Loss of this value alone; null for seeded noise.")
    delta: float
    mechanism: str
    sketch_impl: str
    noise_source: str
    private: bool
    revision: int


class Value(ListedValue):
    """A released value beside the budget of its month as of now."""

    budget_remaining: float
    budget: Budget
    version: str


class Health(Document):
    """All is well."""

    status: Literal["ok"]


class Problem(BaseModel):
    """A problem document (RFC 9457) with the members `error`, for programs, and `hint`, for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    error: str
    hint: str
    field: str | None = Field(default=None, description="422: the parameter that is wrong.")
    reasons: dict[str, str] | None = Field(default=None, description="503 of /readyz: what is wrong with which part.")


class Exhausted(Document):
    """No budget is left for this day; waiting does not refill it."""

    error: Literal["budget_exhausted"]
    metric: Literal["dau", "wau", "mau"]
    period: str
    epsilon_spent: float
    epsilon_cap: float
    epsilon_remaining: float
    budget_remaining: Literal[0]
    next_reset: None
    next_funded_day: Day | None
    budget: Budget


BUDGET: dict[str, Any] = {
    "metric": "dau",
    "period": "2026-01",
    "epsilon_cap": 3.0,
    "epsilon_spent": 1.154,
    "epsilon_remaining": 1.846,
    "budget_remaining": 1.846,
    "delta": 1e-6,
    "bounds": {
        "naive": {"epsilon": 1.521, "delta": 1e-6},
        "advanced": None,
        "rdp": {"epsilon": 1.256, "delta": 1e-6},
        "pld": {"epsilon": 1.154, "delta": 1e-6},
    },
    "best_rdp_order": 16.0,
    "release_count": 1,
    "releases_remaining": 32,
    "next_funded_day": "2026-01-02",
    "resets": 0,
    "trailing_365d_epsilon": 1.256,
    "lifetime_epsilon": 1.256,
    "rdp_orders": [16.0],
    "best_rdp_epsilon": 1.256,
    "rdp_curve": [{"order": 16.0, "epsilon": 1.256}],
    "advanced_epsilon": None,
    "advanced_delta": None,
    "policy": {
        "period": "calendar month of the released day",
        "mechanism": "correlated",
        "epsilon_cap": 3.0,
        "month_cap": 6.0,
        "trailing_365d_cap": 29.0,
        "refilled": "never: a reset opens a further account, whose loss is added",
    },
}
LISTED: dict[str, Any] = {
    "metric": "dau",
    "day": "2026-01-01",
    "window_days": 1,
    "window_complete": True,
    "days_in_window": 1,
    "estimate": 1204.5,
    "lower_95": 1194,
    "upper_95": 1215,
    "is_lower_bound": False,
    "epsilon_used": 0.414,
    "delta": 1e-6,
    "mechanism": "correlated",
    "sketch_impl": "set",
    "noise_source": "secure",
    "private": True,
    "revision": 0,
}
EXHAUSTED: dict[str, Any] = {
    "error": "budget_exhausted",
    "metric": "dau",
    "period": "2026-01",
    "epsilon_spent": 2.99,
    "epsilon_cap": 3.0,
    "epsilon_remaining": 0.01,
    "budget_remaining": 0,
    "next_reset": None,
    "next_funded_day": "2026-02-01",
    "budget": {**BUDGET, "epsilon_spent": 2.99, "epsilon_remaining": 0.01, "budget_remaining": 0.0},
}
MODELS: dict[type[Document] | type[Problem], dict[str, Any]] = {
    Value: {**LISTED, "budget_remaining": 1.846, "budget": BUDGET, "version": __version__},
    ListedValue: LISTED,
    Budget: BUDGET,
    Health: {"status": "ok"},
    Exhausted: EXHAUSTED,
}
"""Every document with its example."""
PROBLEMS: dict[int, tuple[str, str, str]] = {
    401: ("this needs a key that opens it", "unauthorized", "send one in the header X-API-Key"),
    404: ("2026-01-02 is not released", "not_released", "it is once its operator has released it"),
    409: ("2026-01-31 is not closed yet", "not_closed", "the last closed day is 2026-01-30"),
    422: ("day: needs a day written as YYYY-MM-DD", "bad_input", "correct day"),
    500: ("the service failed to answer", "internal", "a fault of dpdau"),
    503: ("the service cannot answer now", "storage", "/readyz names the part concerned"),
}
"""Detail, error and hint of each status's example."""


def one_of(model: type[Document], *, is_list: bool = False) -> dict[str, Any]:
    """The 200 of a route that answers with `model`, or with a list of them."""
    schema: dict[str, Any] = {"$ref": REFERENCE.format(model=model.__name__)}
    content = {"application/json": {"schema": {"type": "array", "items": schema} if is_list else schema}}
    return {"description": (model.__doc__ or "").split(".")[0], "content": content}


def text(media_type: str, description: str, example: str) -> dict[str, Any]:
    """The 200 of a route that answers with text."""
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}, "example": example}}}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The other statuses of a route, each with its schema."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        schema = {"$ref": REFERENCE.format(model=(Exhausted if status == 429 else Problem).__name__)}
        found[status] = {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
    return found


def problem_example(status: int) -> dict[str, Any]:
    """The example of a problem document."""
    detail, error, hint = PROBLEMS[status]
    title = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": error, "hint": hint}
    return {**example, "field": "day"} if status == 422 else example


def components() -> dict[str, Any]:
    """The schemas that routes refer to, by name."""
    models = [(model, "serialization") for model in (*MODELS, Problem)]
    _, definitions = models_json_schema(models, ref_template=REFERENCE)  # type: ignore[arg-type]
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def fill_in(description: dict[str, Any]) -> None:
    """Adds to an OpenAPI document the schemas and examples that its routes refer to.

    Examples come last because FastAPI leaves nulls out of what it is given, and here a null is an answer.
    """
    description.setdefault("components", {}).setdefault("schemas", {}).update(components())
    by_name = {REFERENCE.format(model=model.__name__): example for model, example in MODELS.items()}
    for operations in description["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                for content in answer.get("content", {}).values():
                    schema = content["schema"]
                    name = schema.get("items", schema).get("$ref")
                    if name is not None:
                        example = by_name[name] if name in by_name else problem_example(int(status))
                        content["example"] = [example] if "items" in schema else example
