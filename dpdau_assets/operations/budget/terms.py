"""Which account pays for a release, and on what terms: its noise, its caps, what it has to pay for an offset first.

The month's first charge settles whether each metric has an account of its own or all three share one; an open account
keeps its noise whatever the settings say later. All of it is public.

Belongs here: those two rules. Does not belong here: whether a charge fits (`caps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from dpdau_assets.core.dp_events import EventCounts, merge_events, repeat_event
from dpdau_assets.core.mechanisms.calibration import mechanism_from, mechanism_from_parameters
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.joint import JointGaussian, joint_from_parameters, joint_gaussian
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.core.quantities import days_of_period
from dpdau_assets.operations.budget.shared_noise import shared_noise_charge_due
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.keys.shared_noise_keys import SharedNoiseKeys
from dpdau_assets.storage.ledger import accounts as budget

JOINT = "joint"
"""Name of the account that pays for all three metrics together."""


def account_name(connection: Connection, metric: str, period: str, *, mechanism: str) -> str:
    """Whose account pays for `metric` in `period`: its own, or `joint`.

    The month's first account decides; MECHANISM does while there is none.

    Args:
        connection: A connection to the ledger.
        metric: The metric.
        period: Calendar month `YYYY-MM`.
        mechanism: The setting MECHANISM.
    """
    accounts = budget.accounts_of_period(connection, period)
    is_joint = accounts[0].metric == JOINT if accounts else mechanism == JOINT
    return JOINT if is_joint else metric


@dataclass(frozen=True, slots=True)
class Terms:
    """How the next release of a metric in a month is made, and what its account may spend.

    Attributes:
        name: The account's metric, or `joint` for all three.
        account: The open account, or None when the release will open it.
        mechanism: The noise: an open account keeps its own, whatever the settings say now.
        shared_noise_charge: What the release has to pay for shared noise first; empty if it exists or is not needed.
        cap: Epsilon cap of the account: the smaller of the frozen one and the present setting.
        cap_delta: Delta at which the cap is compared: the smaller of the frozen one and the present setting.
        events: Everything charged to the account so far.
    """

    name: str
    account: budget.Account | None
    mechanism: Mechanism | JointGaussian
    shared_noise_charge: EventCounts
    cap: float
    cap_delta: float
    events: EventCounts

    @property
    def next_charge(self) -> EventCounts:
        """What one more release charges, its opening included."""
        return merge_events(self.shared_noise_charge, repeat_event(self.mechanism.event(), 1))


def make_terms(
    settings: Settings,
    keys: SharedNoiseKeys,
    name: str,
    period: str,
    *,
    account: budget.Account | None,
    month_mechanism: str | None,
    deltas: Sequence[float],
    events: EventCounts,
    reserved: EventCounts,
) -> Terms:
    """The terms of an account: an open one keeps its cap; none gets a larger delta than those before it in the month.

    Args:
        settings: Caps, deltas and the mechanism of accounts that are not open yet.
        keys: The keys of sealed offsets.
        name: The account's metric, or `joint`.
        period: Calendar month `YYYY-MM`.
        account: The open account, or None.
        month_mechanism: Mechanism of the month's newest account, or None when it has none; of no matter to an open one.
        deltas: Of the accounts that this name had in the month so far.
        events: Everything charged to the account so far.
        reserved: What its first release pays for the search of a sampling threshold.
    """
    cap = min([settings.cap_of(name), *([account.epsilon_cap] if account else [])])
    cap_delta = min([settings.delta, *deltas])
    mechanism: Mechanism | JointGaussian
    if account is None:
        releases = len(days_of_period(period)) + settings.revision_reserve
        # a joint account is alone in its month: what the month's total forbids need not be planned for
        reachable = min(cap, settings.total_budget_month) if name == JOINT else cap
        plan = PeriodPlan(releases, reachable, cap_delta, reserved=reserved)
        mechanism = _new_mechanism(settings, name, plan, month_mechanism=month_mechanism)
    elif name == JOINT:
        mechanism = joint_from_parameters(account.parameters)
    else:
        mechanism = mechanism_from_parameters(account.mechanism, account.parameters)
    return Terms(name, account, mechanism, shared_noise_charge_due(account, mechanism, keys), cap, cap_delta, events)


def _new_mechanism(
    settings: Settings, name: str, plan: PeriodPlan, *, month_mechanism: str | None
) -> Mechanism | JointGaussian:
    """The noise of an account that is not open yet: planned for all days of the month and the revisions in reserve.

    A month that was opened metric by metric stays so when MECHANISM becomes `joint`, with the noise it had.
    """
    if name == JOINT:
        return joint_gaussian(plan)
    chosen = month_mechanism if settings.mechanism == JOINT and month_mechanism else settings.mechanism
    return mechanism_from(chosen, epsilon=settings.epsilon_of(name), delta=settings.delta, plan=plan)
