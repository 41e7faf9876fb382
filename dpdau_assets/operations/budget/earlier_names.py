"""The budget under the names that the earlier implementation's API gave it, for clients written against that.

Belongs here: saying the same facts once more in other words. Does not belong here: any bound of its own.
"""

from __future__ import annotations

from typing import Any

from dpdau_assets.core.accounting.rdp import RdpAccountant
from dpdau_assets.core.accounting.snapshot import BudgetSnapshot
from dpdau_assets.core.dp_events import merge_events
from dpdau_assets.operations.budget.caps import BudgetBook
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.storage.ledger import accounts


def earlier_names(book: BudgetBook, workspace: Workspace, metric: str, stated: BudgetSnapshot) -> dict[str, Any]:
    """The additional members of a budget document; JSON types only, all public.

    Args:
        book: What has been charged.
        workspace: The open data folder.
        metric: `dau`, `wau` or `mau`.
        stated: The snapshot of the metric's month.

    Returns:
        rdp_orders; best_rdp_epsilon, which is the bound `rdp`; rdp_curve, the epsilon proven at `delta` by each order;
        advanced_epsilon and advanced_delta, the bound `advanced`, null where it does not hold; policy: how a month's
        budget is divided.
    """
    settings, terms = workspace.settings, book.terms(metric, stated.period)
    with workspace.ledger.read() as connection:
        held = accounts.accounts_of(connection, terms.name, stated.period)
        events = merge_events(*(accounts.events_of_account(connection, account) for account in held))
    by_order = [RdpAccountant((order,)).bound(events, delta=stated.delta).epsilon for order in settings.rdp_orders]
    rdp, advanced = stated.bounds["rdp"], stated.bounds["advanced"]
    return {
        "rdp_orders": list(settings.rdp_orders),
        "best_rdp_epsilon": rdp and rdp.epsilon,
        "rdp_curve": [
            {"order": order, "epsilon": epsilon} for order, epsilon in zip(settings.rdp_orders, by_order, strict=True)
        ],
        "advanced_epsilon": advanced and advanced.epsilon,
        "advanced_delta": advanced and advanced.delta,
        "policy": {
            "period": "calendar month of the released day",
            "mechanism": terms.mechanism.name,
            "epsilon_cap": stated.epsilon_cap,
            "month_cap": book.totals(stated.period).month_cap,
            "trailing_365d_cap": book.totals(stated.period).year_cap,
            "refilled": "never: a reset opens a further account, whose loss is added",
        },
    }
