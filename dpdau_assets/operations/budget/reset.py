"""Opening a further account for a month that is spent, after somebody approved it.

Belongs here: that one decision and its record. A reset forgives nothing: the month's composed loss keeps growing and is
shown with the number of resets, and the totals over all metrics and over 365 days still hold.
"""

from __future__ import annotations

from dpdau_assets.core.quantities import METRICS, days_of_period
from dpdau_assets.errors import InputError, UsageError
from dpdau_assets.operations.budget.terms import account_name
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts
from dpdau_assets.storage.ledger.accounts import Reset


def reset_budget(workspace: Workspace, metric: str | None, period: str, reason: str) -> tuple[Reset, ...]:
    """Opens the next account of a metric and month, or of every metric that spent anything in the month.

    A month released jointly has one account for all three metrics, whichever of them is named. A metric whose account
    of the month is still untouched is left as it is, so that repeating the command opens nothing further.

    Args:
        workspace: The open data folder.
        metric: `dau`, `wau` or `mau`; None for all three.
        period: Calendar month `YYYY-MM`.
        reason: Who approved it and why; stored, and public on the trusted side.

    Returns:
        What was recorded, one for each account that gives way to a new one.

    Raises:
        UsageError: The reason is empty, or there is no such metric or month.
        InputError: Nothing was spent, so there is nothing to reset.
    """
    if not reason.strip():
        raise UsageError("a reset needs a reason", hint="say who approved it and why")
    if metric is not None and metric not in METRICS:
        raise UsageError("there is no such metric", hint=f"use one of {', '.join(METRICS)}")
    days_of_period(period)
    with workspace.ledger.write() as connection:
        mechanism = workspace.settings.mechanism
        asked = [metric] if metric else METRICS
        names = dict.fromkeys(account_name(connection, one, period, mechanism=mechanism) for one in asked)
        spent = [name for name in names if accounts.current_account(connection, name, period) is not None]
        if not spent:
            raise InputError(
                f"the budget of {metric or 'every metric'} for {period} is untouched: there is nothing to reset",
                hint="`dpdau budget` shows what was spent",
            )
        now = workspace.advance_clock(connection)
        return tuple(accounts.record_reset(connection, name, period, reason=reason.strip(), now=now) for name in spent)
