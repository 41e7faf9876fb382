"""The exception tree, with one branch for each party that can repair the fault.

    DpdauError
    |-- CallerError                  the request is wrong: change it and ask again
    |   |-- UsageError               an option or argument that makes no sense
    |   |-- InputError               a file, row or value that cannot be used
    |   |   `-- UnknownSettingError  a name in .env that does not exist
    |   |-- NotReleasableError       the calendar does not allow this release
    |   |   |-- NotClosedError
    |   |   `-- OutsideSeriesError
    |   `-- BudgetExhaustedError     a cap does not allow this release
    |-- OperatorError                configuration or machine: an operator repairs it
    |   |-- ConfigurationError       a setting that disagrees with what is stored, or is unsupported
    |   |   |-- LedgerMismatchError     the files belong to another ledger, or theirs is missing
    |   |   `-- SaltStoreMismatchError  the salt store is missing, not the newest, or open to others
    |   `-- StorageError             the disk is full or not writable, or a lock stays taken
    |       `-- LedgerDamagedError      SQLite cannot read the ledger's file
    |-- DataError                    what is stored is not what was recorded
    |   |-- LedgerOutdatedError      the ledger is older than its journal
    |   `-- SaltStoreDamagedError    the salt store cannot be read, or cannot decrypt what was encrypted with it
    `-- InternalError                an invariant of this package is broken: report it

One table of the command line holds the exit codes (`cli.output`).

Every error keeps the offending values as attributes and says in one line what is wrong; `hint` says
what to do. Neither ever contains a user id, a pseudonym or an exact count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


class DpdauError(Exception):
    """Base of everything this package raises on purpose.

    Args:
        message: One line: what is wrong, with the amount or limit concerned.
        hint: One line: the next step for whoever can repair it.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class CallerError(DpdauError):
    """The request is wrong; the caller can change it."""

    code = "caller_error"


class UsageError(CallerError):
    """An option or argument that makes no sense."""

    code = "usage"


class InputError(CallerError):
    """A file, row or value that cannot be used."""

    code = "bad_input"


class UnknownSettingError(InputError):
    """A name in `.env` that is not a setting."""

    code = "unknown_setting"


class NotReleasableError(CallerError):
    """The calendar does not allow this release (public: depends on dates only)."""

    code = "not_releasable"

    def __init__(self, message: str, *, day: date, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.day = day


class NotClosedError(NotReleasableError):
    """The day is not closed yet."""

    code = "not_closed"


class OutsideSeriesError(NotReleasableError):
    """The day lies before SERIES_START or after SERIES_END, or no series is defined."""

    code = "outside_series"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a release did not fit under a cap. All of it is public.

    Attributes:
        metric: The metric asked for.
        day: The day asked for.
        period: Calendar month `YYYY-MM` of the day.
        scope: Which cap refused: `metric`, `month` or `trailing_365d`.
        epsilon_spent: Loss already composed under that cap.
        epsilon_cap: The cap.
        epsilon_needed: Loss after the release, had it been made.
        delta: The delta at which all three are stated.
        next_funded_day: First day whose release would fit, as far as known.
    """

    metric: str
    day: date
    period: str
    scope: str
    epsilon_spent: float
    epsilon_cap: float
    epsilon_needed: float
    delta: float
    next_funded_day: date | None


class BudgetExhaustedError(CallerError):
    """At least one release does not fit under a cap; nothing was charged for it."""

    code = "budget_exhausted"

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        first = refusals[0]
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        scope = {
            "metric": f"{first.metric} in {first.period}",
            "month": f"all metrics in {first.period}",
            "trailing_365d": f"the 365 days around {first.day}",
        }[first.scope]
        is_own = first.scope == "metric"
        way_on = "`dpdau reset-budget` opens a new account" if is_own else "no reset gets past this cap"
        super().__init__(
            f"budget exhausted: {first.metric} for {first.day}{more}: {scope} has spent epsilon "
            f"{first.epsilon_spent:.3f} of {first.epsilon_cap:.3f}, this release would make it "
            f"{first.epsilon_needed:.3f} at delta {first.delta:g}",
            hint="the cap belongs to the released day's month and waiting does not refill it; next funded day: "
            f"{first.next_funded_day or 'unknown'}; {way_on}",
        )
        self.refusals = refusals


class OperatorError(DpdauError):
    """Configuration or machine; an operator repairs it."""

    code = "operator_error"


class ConfigurationError(OperatorError):
    """A setting is unsupported or disagrees with what the ledger recorded."""

    code = "configuration"


class LedgerMismatchError(ConfigurationError):
    """The files of DATA_DIR belong to another ledger than the one found, or their ledger is missing.

    Attributes:
        expected: The ledger that the files name, None when they name none.
        found: The ledger that was found, None when there is none.
    """

    def __init__(self, message: str, *, expected: str | None, found: str | None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.expected = expected
        self.found = found


class SaltStoreMismatchError(ConfigurationError):
    """The salt store is missing, is not the one that the pseudonyms were made with, or is open to others."""


class StorageError(OperatorError):
    """The disk, a permission or a lock prevents reading or writing."""

    code = "storage"


class LedgerDamagedError(StorageError):
    """The ledger's file is damaged or is not an SQLite database."""


class DataError(DpdauError):
    """What is stored is not what was recorded."""

    code = "data"


class LedgerOutdatedError(DataError):
    """The ledger is older than its journal: going on would release days a second time."""


class SaltStoreDamagedError(DataError):
    """The salt store cannot be read, or cannot decrypt what was encrypted with it."""


class InternalError(DpdauError):
    """An invariant of this package is broken."""

    code = "internal"
