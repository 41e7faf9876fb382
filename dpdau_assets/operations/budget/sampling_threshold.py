"""Below which key hash a release counts users: decided from settings and earlier releases alone, before any count.

Belongs here: that one rule, for releases, for plans of them and for charges of lost ones. Does not belong here: the
search for a first threshold (`core.mechanisms.above_threshold`) and its charge. Everything here is public.
"""

from __future__ import annotations

from dpdau_assets.core.dp_events import NO_EVENTS, EventCounts, repeat_event
from dpdau_assets.core.mechanisms.above_threshold import ABOVE_THRESHOLD_EVENT, require_first_threshold_possible
from dpdau_assets.core.mechanisms.interface import Mechanism
from dpdau_assets.core.mechanisms.joint import JointGaussian
from dpdau_assets.core.release.release import ReleaseResult, next_threshold, require_releasable_sketch, threshold_for
from dpdau_assets.errors import ConfigurationError
from dpdau_assets.operations.session.workspace import sketch_plan
from dpdau_assets.settings.settings import Settings
from dpdau_assets.storage.ledger.releases import Release

SEARCH: EventCounts = repeat_event(ABOVE_THRESHOLD_EVENT, 1)
"""What the search for a first threshold charges."""


def search_charge(settings: Settings, *, is_first: bool) -> EventCounts:
    """What a release pays for the search of a sampling threshold; empty where the threshold is known without one.

    Args:
        settings: SKETCH_IMPL, SKETCH_K and EXPECTED_USERS.
        is_first: Whether the metric has no earlier release that tells the threshold.
    """
    return SEARCH if is_first and _threshold_of_settings(settings) is None else NO_EVENTS


def sampling_threshold(
    settings: Settings, mechanism: Mechanism | JointGaussian, last: Release | None, *, period: str
) -> int | None:
    """Keys below it are counted by the next release of a metric; None when it has to be searched, and paid for, first.

    Args:
        settings: SKETCH_IMPL, SKETCH_K and EXPECTED_USERS.
        mechanism: The noise of the release.
        last: The metric's last release, or None.
        period: Calendar month `YYYY-MM` of the release.

    Raises:
        ConfigurationError: The sketch cannot be released with this noise, or no first threshold can be searched for it.
    """
    plan = sketch_plan(settings)
    if isinstance(mechanism, JointGaussian):
        if plan.impl != "set":
            raise ConfigurationError(
                f"{period} is released jointly, which SKETCH_IMPL={plan.impl} does not allow",
                hint="set SKETCH_IMPL=set until that month's releases are made",
            )
        return plan.fixed_threshold
    if plan.fixed_threshold is None:
        require_releasable_sketch(mechanism, k=plan.size, impl=plan.impl)
        if last is not None:
            return next_threshold(ReleaseResult.from_json(last.result), k=plan.size, impl=plan.impl)
    threshold = _threshold_of_settings(settings)
    if threshold is None:
        require_first_threshold_possible(plan.size)
    return threshold


def _threshold_of_settings(settings: Settings) -> int | None:
    """The threshold of a first release that the settings alone determine; None when they do not."""
    plan = sketch_plan(settings)
    if plan.fixed_threshold is not None or settings.expected_users is None:
        return plan.fixed_threshold
    return threshold_for(settings.expected_users, k=plan.size, impl=plan.impl)
