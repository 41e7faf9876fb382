"""How many users of one stretch of days are missing from another, for experiments: NOT private, never to be published.

Belongs here: reading the live users of two stretches and comparing them as USE_BLOOM_FOR_DIFF says. The estimate and
its bias belong to `core.sketches.difference`. Releases refuse to be made while USE_BLOOM_FOR_DIFF is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.difference import Difference, a_not_b
from dpdau_assets.core.sketches.protocol import KEY_SPACE, Keys, merge
from dpdau_assets.errors import UsageError
from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date_in_session
from dpdau_assets.operations.session.session import LakeSession, lake_session
from dpdau_assets.operations.session.workspace import Workspace


@dataclass(frozen=True, slots=True, repr=False)
class LostUsers:
    """|A \\ B| for two stretches of days (sensitive; prints as nothing).

    Attributes:
        exact: The number itself.
        estimate: What the settings compare by: a sample, a Bloom filter, or both.
    """

    exact: int
    estimate: Difference


def count_lost_users(
    workspace: Workspace, first: DayRange, second: DayRange, *, threshold: int = KEY_SPACE
) -> LostUsers:
    """How many users live on a day of `first` are live on no day of `second`.

    Args:
        workspace: The open data folder; with USE_BLOOM_FOR_DIFF the estimate goes through a filter of BLOOM_FP_RATE.
        first: Closed days of A.
        second: Closed days of B.
        threshold: theta times 2^64: the estimate looks at users below it alone.

    Raises:
        UsageError: No salt epoch keys all these days, so that their users cannot be compared.
        DataError: A stored file is not the recorded one.
    """
    settings, calendar = workspace.settings, workspace.salts.calendar
    days = DayRange(min(first.first, second.first), max(first.last, second.last))
    epoch = calendar.epoch_of(days.first)
    if any(epoch not in calendar.keyed_epochs(day, settings.mau_window_days) for day in (*first, *second)):
        raise UsageError(
            f"users of {first.first} to {second.last} cannot be compared: the salt changes between them",
            hint=f"compare days that lie within {settings.mau_window_days} days of each other",
        )
    with lake_session(workspace, days) as session:
        bring_up_to_date_in_session(session, days, through="live_users")
        keys = [_users_of(session, part, epoch=epoch) for part in (first, second)]
    fp_rate = settings.bloom_fp_rate if settings.use_bloom_for_diff else None
    exact = a_not_b(keys[0], keys[1])
    return LostUsers(round(exact.users), a_not_b(keys[0], keys[1], threshold=threshold, fp_rate=fp_rate))


def _users_of(session: LakeSession, days: DayRange, *, epoch: int) -> Keys:
    """The users live on any of some days, under one epoch."""
    parts = [session.read_live(day, epoch, path) for day in days for path in session.live_files(day, epoch)]
    return reduce(merge, parts, np.empty(0, np.uint64))
