"""How an error ends a Dagster step: one line and the next step, with a retry only where one can help.

Dagster concept: `Failure` and `RetryPolicy`. What may go wrong belongs to `dpdau_assets.errors`.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from dpdau_assets.errors import DpdauError, StorageError

RETRY_STORAGE = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL)
"""For a lock or a disk that comes free; every other error forbids a retry, so that none can spend."""


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turns an error into a `Failure` whose description is its message and hint.

    A retry is allowed only for `StorageError`: every write and charge is idempotent, and any other error would
    come again. Of an unexpected error only type and place are kept: Dagster stores what it is told for ever, and a
    library's message can quote a value of the data.

    Raises:
        Failure: The block raised.
    """
    try:
        yield
    except DpdauError as error:
        raise dg.Failure(describe(error), allow_retries=isinstance(error, StorageError)) from None
    except Exception as fault:  # noqa: BLE001 - the edge: no value of the data may reach Dagster's logs
        raise dg.Failure(
            f"unexpected {type(fault).__name__}: this is a fault of dpdau, report it with the places below",
            metadata={"places": ", ".join(_places(fault))},
            allow_retries=False,
        ) from None


def describe(error: DpdauError) -> str:
    """Message and hint on one line."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _places(fault: Exception) -> list[str]:
    """Where the fault came from, innermost first, without any value."""
    frames = traceback.extract_tb(fault.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)][:8]
