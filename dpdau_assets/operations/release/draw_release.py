"""What happens inside the one transaction of a release: open the account, charge, draw, store.

Belongs here: every row that a release writes, in its order, and where its randomness comes from. Does not belong here:
whether the release may be made, and what to do when the ledger changed meanwhile (`publish_release`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from dpdau_assets.core.dp_events import DpEvent
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT, KEY_SPACE, find_first_threshold
from dpdau_assets.core.mechanisms.interface import Mechanism, NoiseSource
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.mechanisms.samplers import SecureNoise, SeededNoise, UnprivateNoise, draw_key, mask_seed
from dpdau_assets.core.quantities import METRICS, Metric, period_of, window_days
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.core.release.joint_release import make_joint_results
from dpdau_assets.core.release.release import ReleaseResult, make_result
from dpdau_assets.operations.budget.caps import Totals, open_account
from dpdau_assets.operations.budget.shared_noise import draw_and_charge_shared_noise, shared_noise_keys
from dpdau_assets.operations.budget.terms import Terms
from dpdau_assets.operations.release.release_rules import days_in_window
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_assets.storage.ledger import accounts, releases


@dataclass(frozen=True)
class Draw:
    """One release under way in a write transaction.

    Attributes:
        workspace: The open data folder.
        connection: The write transaction.
        counts: The exact counts of the snapshot; sensitive, prints as nothing.
        day: The released day.
        revised: The value it replaces, or None.
        reason: Why, in public words; None for a first value.
        now: The time.
    """

    workspace: Workspace
    connection: Connection
    counts: Counts
    day: date
    revised: releases.Release | None
    reason: str | None
    now: datetime

    def account(self, terms: Terms, totals: Totals) -> accounts.Account:
        """The account that pays: the open one, or a new one."""
        return open_account(self.connection, terms, totals, period=period_of(self.day), now=self.now)

    def shared_noise(self, account: accounts.Account, terms: Terms) -> tuple[accounts.Account, int | None]:
        """The account with its offset (sensitive), opened and charged now if the terms say so; None for none.

        None as well when the key was destroyed since the terms were made: the caller then decides again.
        """
        if not terms.mechanism.shared_noise_charge():
            return account, None
        if not terms.shared_noise_charge:
            return account, shared_noise_keys(self.workspace).open(account)
        # below 0 and new with every charge, so that no seeded draw shares its key
        source = self._noise(account, draw=-accounts.version(self.connection))
        return draw_and_charge_shared_noise(
            self.connection, account, terms.mechanism, source, day=self.day, now=self.now, workspace=self.workspace
        )

    def first_threshold(self, account: accounts.Account, metric: Metric) -> int:
        """The metric's first threshold, found privately; the search is charged together with its outcome."""
        found = find_first_threshold(
            lambda threshold: self.counts.below(metric, self.day, threshold),
            self._noise(account, draw=0),
            k=self.workspace.settings.sketch_k,
        )
        accounts.insert_charge(
            self.connection,
            account,
            day=self.day,
            kind="threshold",
            events=[ABOVE_THRESHOLD_EVENT],
            outcome=found.to_json(),
            now=self.now,
        )
        return found.threshold

    def single(
        self,
        account: accounts.Account,
        mechanism: Mechanism,
        metric: Metric,
        *,
        threshold: int,
        shared_noise: int | None,
    ) -> dict[Metric, releases.Release]:
        """The charge, the draw it pays for, and the release, of one metric."""
        settings = self.workspace.settings
        charge = self._charge(account, mechanism.event())
        source = self._noise(account, draw=charge)
        result = make_result(
            mechanism.draw(self.counts.below(metric, self.day, threshold), source, shared_noise=shared_noise),
            mechanism,
            source=source,
            metric=metric,
            day=self.day,
            window_days=window_days(metric, settings.mau_window_days),
            days_in_window=days_in_window(settings, metric, self.day),
            sketch_impl=settings.sketch_impl,
            sketch_k=sketch_plan(settings).capacity,
            threshold=threshold,
            revision=self._revision(account),
        )
        return {metric: self._store(charge, result)}

    def joint(
        self, account: accounts.Account, mechanism: JointGaussian, *, shared_noise: int | None
    ) -> dict[Metric, releases.Release]:
        """One draw for all three metrics and their three releases.

        Each release has a charge of its own; the first carries the event of the whole draw, the others none.
        """
        settings = self.workspace.settings
        charges = [self._charge(account, mechanism.event())]
        charges += [self._charge(account) for _ in METRICS[1:]]
        source = self._noise(account, draw=charges[0])
        first, second, third = (self.counts.below(metric, self.day, KEY_SPACE) for metric in METRICS)
        results: Mapping[Metric, ReleaseResult] = make_joint_results(
            mechanism.draw((first, second, third), source, shared_noise=shared_noise),
            mechanism,
            source=source,
            day=self.day,
            window_days={metric: window_days(metric, settings.mau_window_days) for metric in METRICS},
            days_in_window={metric: days_in_window(settings, metric, self.day) for metric in METRICS},
            revision=self._revision(account),
        )
        return {metric: self._store(charge, results[metric]) for metric, charge in zip(METRICS, charges, strict=True)}

    def _revision(self, account: accounts.Account) -> int:
        """0 for a first value; one more than the value it replaces, and 1 where a lost first value was charged."""
        if self.revised:
            return self.revised.revision + 1
        return int(self.day in accounts.assumed_days(self.connection, [account.metric]))

    def _charge(self, account: accounts.Account, *events: DpEvent) -> int:
        kind: accounts.ChargeKind = "revision" if self.revised else "release"
        return accounts.insert_charge(self.connection, account, day=self.day, kind=kind, events=events, now=self.now)

    def _store(self, charge: int, result: ReleaseResult) -> releases.Release:
        return releases.insert_release(
            self.connection,
            charge,
            metric=result.metric,
            day=self.day,
            revision=result.revision,
            drawn=result.drawn,
            result=result.to_json(),
            reason=self.reason,
            now=self.now,
        )

    def _noise(self, account: accounts.Account, *, draw: int) -> NoiseSource:
        """Where the randomness of one draw comes from; `draw` is its number within the account, never used twice."""
        settings = self.workspace.settings
        if self.workspace.noise is not None:
            return UnprivateNoise(self.workspace.noise(account=account.account, draw=draw))
        if settings.noise_source == "secure":
            return SecureNoise()
        seed = mask_seed(settings.default_seed).to_bytes(8, "big")
        ledger_id = self.workspace.ledger_id
        return SeededNoise(draw_key(seed, ledger_id=ledger_id, account=account.account, draw=draw))
