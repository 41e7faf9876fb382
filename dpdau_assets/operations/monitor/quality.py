"""What the asset checks measure: rejected rows, erased users still present, the error of sketches.

Belongs here: reading what is stored and comparing it with its limit. Does not belong here: repairing (`rebuild`) and
telling (`alerts`, the checks). Answers are rates, errors and numbers of files, never a count of users.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import select

from dpdau_assets.core.quantities import ONE_DAY, DayRange
from dpdau_assets.core.sketches.hll import HLL_DEVIATION
from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.operations.pipeline.daily_sketches import read_sketch
from dpdau_assets.operations.session.session import lake_session
from dpdau_assets.operations.session.workspace import Workspace, sketch_plan
from dpdau_assets.storage.lake.layout import DAILY_SKETCHES
from dpdau_assets.storage.ledger.ledger import time_text
from dpdau_assets.storage.ledger.schema import batches

RECENT = ONE_DAY
"""How long a source with too many rejected rows is worth a warning."""
TOLERATED_DEVIATIONS = 6.0
"""A sketch further off than this many standard deviations is wrong, not unlucky: once in 500 million days."""
TOLERATED_USERS = 3
"""That many kept users more or fewer are luck where so few are kept that the deviation says little."""


@dataclass(frozen=True, slots=True)
class RejectedRows:
    """How many of the rows of a source were rejected, of the source where most were.

    Attributes:
        worst_share: Rejected rows over all rows of that source; 0 without sources.
        limit: QUARANTINE_MAX_RATE.
    """

    worst_share: float
    limit: float

    @property
    def is_too_many(self) -> bool:
        """Whether the limit is exceeded."""
        return self.worst_share > self.limit


@dataclass(frozen=True, slots=True)
class SketchAccuracy:
    """How far the sketches of some days are off.

    Attributes:
        worst_error: |estimate - exact| / exact of the sketch that exceeds its bound by most. It is 0 while no sketch
            does, so that the check's result tells nothing about an ordinary day.
        bound: What sampling explains for that sketch; 0 for a complete one, and while no sketch exceeds its bound.
    """

    worst_error: float
    bound: float


def rejected_rows(workspace: Workspace) -> RejectedRows:
    """The largest share of rejected rows among the sources received within the last day, with its limit.

    One bad source shows however many good rows came beside it. The asset check and the alert both ask this.

    Args:
        workspace: The open data folder.
    """
    since = time_text(workspace.now() - RECENT)
    query = select(batches.c.events, batches.c.accepted).where(batches.c.received_at >= since)
    with workspace.ledger.read() as connection:
        shares = [(row.events - row.accepted) / row.events for row in connection.execute(query) if row.events]
    return RejectedRows(max(shares, default=0.0), workspace.settings.quarantine_max_rate)


def sketch_accuracy(workspace: Workspace, days: DayRange) -> SketchAccuracy:
    """How far the sketches of `days` are from their days' live users; SKETCH_IMPL=set has no error.

    Args:
        workspace: The open data folder.
        days: Days to look at.

    Raises:
        DataError: A file is missing, or not the recorded one.
    """
    plan = sketch_plan(workspace.settings)
    if plan.impl == "set":
        return SketchAccuracy(0.0, 0.0)
    worst = bound = 0.0
    with lake_session(workspace, days) as session:
        for day in session.known_days(DAILY_SKETCHES, days):
            epoch = workspace.salts.calendar.epoch_of(day)
            sketch, exact = read_sketch(session, day, epoch=epoch), session.count_live(day) or 0
            if not exact or sketch is None:
                worst = math.inf if exact or (sketch and sketch.estimate()) else worst
                continue
            error = abs(sketch.estimate() - exact) / exact
            explained = 0.0 if sketch.complete else _explained_error(plan, exact)
            worst, bound = (error, explained) if error - explained > worst - bound else (worst, bound)
    return SketchAccuracy(worst, bound)


def _explained_error(plan: SketchPlan, users: int) -> float:
    """The largest relative error of a sketch of `users` that sampling explains, where it left some out."""
    if plan.impl == "kmv":
        return TOLERATED_DEVIATIONS / math.sqrt(plan.size - 2)
    if plan.impl == "hll":
        return TOLERATED_DEVIATIONS * HLL_DEVIATION / math.sqrt(plan.size) + TOLERATED_USERS / users
    users_per_kept = KEY_SPACE / plan.size
    deviation = math.sqrt(users * (users_per_kept - 1))
    return (TOLERATED_DEVIATIONS * deviation + TOLERATED_USERS * users_per_kept) / users
