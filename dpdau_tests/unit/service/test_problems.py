"""One status for each kind of error, and documents that repeat nothing."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import date
from typing import Any

import pytest
from starlette.requests import Request

from dpdau_assets import errors
from dpdau_assets.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DataError,
    DpdauError,
    InputError,
    InternalError,
    NotClosedError,
    OutsideSeriesError,
    Refusal,
    StorageError,
    UsageError,
)
from dpdau_assets.service.problems import NotReleasedError, exhausted, on_dpdau_error, status_of, unauthorized

DAY = date(2026, 1, 31)
REFUSAL = Refusal("dau", DAY, "2026-01", "trailing_365d", 29.0, 28.5, 29.4, 1e-6, None)
REQUEST = Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def answered(error: DpdauError) -> tuple[int, dict[str, Any]]:
    """Status and document of an error."""
    response = asyncio.run(on_dpdau_error(REQUEST, error))
    return response.status_code, json.loads(bytes(response.body))


class TestStatusOf:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (UsageError("x"), 422),
            (InputError("x"), 422),
            (NotClosedError("x", day=DAY), 409),
            (OutsideSeriesError("x", day=DAY), 409),
            (BudgetExhaustedError((REFUSAL,)), 429),
            (NotReleasedError("x"), 404),
            (ConfigurationError("x"), 503),
            (StorageError("x"), 503),
            (DataError("x"), 503),
            (InternalError("x"), 500),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_an_error_has_its_status(self, error: DpdauError, status: int) -> None:
        """The caller's are 4xx, everybody else's 5xx."""
        assert status_of(error) == status

    def test_every_error_of_the_tree_has_one(self) -> None:
        """A new class takes the status of its ancestor: 4xx for what a caller can mend, and for nothing else."""
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DpdauError)]
        assert len(kinds) > 10
        for kind in kinds:
            found = status_of(kind.__new__(kind))
            assert (found < 500) is issubclass(kind, errors.CallerError), kind


class TestDocuments:
    def test_a_caller_reads_the_reason(self) -> None:
        """Detail, code and hint are the error's."""
        status, document = answered(NotClosedError("not closed\nyet", day=DAY, hint="wait"))
        assert (status, document["error"], document["detail"], document["hint"]) == (
            409,
            "not_closed",
            "not closed yet",
            "wait",
        )

    @pytest.mark.parametrize("kind", [ConfigurationError, StorageError, DataError, InternalError])
    def test_an_operators_reason_stays_in_the_log(
        self, kind: type[DpdauError], caplog: pytest.LogCaptureFixture
    ) -> None:
        """The document is the same whatever the message says; the log has it."""
        with caplog.at_level(logging.ERROR, logger="dpdau.service"):
            told, other = answered(kind("/srv/secret path")), answered(kind("another"))
        assert told == other
        assert "/srv/secret path" in caplog.text

    def test_an_exhausted_budget_never_has_less_than_nothing_left(self) -> None:
        """A cap that was lowered below what is spent leaves 0."""
        document = json.loads(bytes(exhausted(REFUSAL, {}).body))
        assert (document["epsilon_remaining"], document["next_funded_day"]) == (0.0, None)

    def test_a_401_says_how_to_prove_oneself(self) -> None:
        """RFC 9110 asks for WWW-Authenticate."""
        assert "X-API-Key" in unauthorized().headers["www-authenticate"]
