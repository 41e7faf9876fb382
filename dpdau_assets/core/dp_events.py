"""Privacy events: frozen data on what a release did to privacy, which is all that accounting knows of mechanisms.

Belongs here: the event types, their stored form, and the multiset they are composed in. Does not belong here: how
noise is drawn (`mechanisms`) or what an event costs (`accounting`).

Compatibility of the stored form: a document names its `version`. A version once written is readable for ever and
means the same loss for ever; a new field or meaning takes a new version. Losses are never stored, so a better
accountant improves the statement about old releases as well.

An `EventCounts` is a multiset in canonical form, hence hashable: every bound is a pure function of it and is memoised
on it. Order of release does not matter to any bound used here, and each bound holds when the later *queries* depend on
earlier answers, because the mechanisms and their parameters are fixed in advance (per account and period). Caveat: an
account opened with parameters that somebody chose after seeing released values, after a reset or in a later month, is
covered by basic composition and by RDP at one order when these are enforced as caps (Rogers et al. 2016; Feldman and
Zrnic 2021), while advanced composition, PLD, the best of several orders and any loss merely reported over several
accounts assume that the choice did not depend on released values.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dpdau_assets.errors import DataError, InternalError

STORED_VERSION = 1
"""Version of the stored form that this code writes."""
ROUNDING_VARIANCE = 9.0
"""Share of a vector's noise that the accounting gives up to be exact on the lattice: 2 exp(-2 pi^2 9) < 1e-76."""
SMALLEST_VECTOR_STDDEV = 4.0


def _require_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InternalError(f"{name} of a privacy event must be positive and finite")


@dataclass(frozen=True, slots=True)
class DiscreteGaussianEvent:
    """An integer count plus discrete Gaussian noise N_Z(0, stddev^2).

    Attributes:
        stddev: Parameter sigma, in users; the standard deviation up to 2 exp(-2 pi^2 sigma^2) relative.
        l2_sensitivity: Largest change of the count by one user, a positive integer.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Definition 1.
    """

    stddev: float
    l2_sensitivity: int = 1

    def __post_init__(self) -> None:
        _require_positive("stddev", self.stddev)
        _require_positive("l2_sensitivity", self.l2_sensitivity)


@dataclass(frozen=True, slots=True)
class DiscreteLaplaceEvent:
    """An integer count plus discrete Laplace noise, Pr[x] proportional to exp(-|x| / scale).

    Attributes:
        scale: Scale in users; the release is (l1_sensitivity / scale)-DP.
        l1_sensitivity: Largest change of the count by one user, a positive integer.

    Reference: Ghosh, Roughgarden, Sundararajan (2012), arXiv 0811.2841 (the geometric mechanism).
    """

    scale: float
    l1_sensitivity: int = 1

    def __post_init__(self) -> None:
        _require_positive("scale", self.scale)
        _require_positive("l1_sensitivity", self.l1_sensitivity)


@dataclass(frozen=True, slots=True)
class VectorGaussianEvent:
    """A vector of integers plus independent discrete Gaussian noise N_Z(0, stddev^2) on each coordinate.

    Attributes:
        stddev: Parameter sigma of each coordinate, at least `SMALLEST_VECTOR_STDDEV`.
        squared_sensitivity: Largest squared Euclidean length of a user's change of the vector, a positive integer.

    Reference: Canonne, Kamath, Steinke (2020), arXiv 2004.00010, Section 2.3.
    """

    stddev: float
    squared_sensitivity: int

    def __post_init__(self) -> None:
        _require_positive("stddev", self.stddev)
        _require_positive("squared_sensitivity", self.squared_sensitivity)
        if self.stddev < SMALLEST_VECTOR_STDDEV:
            raise InternalError(f"vector noise of stddev below {SMALLEST_VECTOR_STDDEV:g} is not accounted for")

    @property
    def mu(self) -> float:
        """The mu of Gaussian differential privacy that dominates one draw, up to 1e-75 in its loss.

        Continuous Gaussian noise of variance sigma^2 - 9, rounded at random with discrete Gaussian weights of variance
        9, is N_Z(0, sigma^2) with every probability off by a factor within 1 +- 1e-76: the mechanism is post-processing
        of a continuous one, whatever direction the change takes.

        Reference: Peikert (2010), "An efficient and parallel Gaussian sampler for lattices", Theorem 3.1.
        """
        return math.sqrt(self.squared_sensitivity / (self.stddev**2 - ROUNDING_VARIANCE))


@dataclass(frozen=True, slots=True)
class PureDpEvent:
    """Any epsilon-DP algorithm about which nothing more is claimed.

    Attributes:
        epsilon: Its loss, positive.
    """

    epsilon: float

    def __post_init__(self) -> None:
        _require_positive("epsilon", self.epsilon)


DpEvent: TypeAlias = DiscreteGaussianEvent | DiscreteLaplaceEvent | VectorGaussianEvent | PureDpEvent
EventCounts: TypeAlias = tuple[tuple[DpEvent, int], ...]
"""Multiset of events: distinct events in canonical order, each with how often it happened (>= 1)."""

NO_EVENTS: EventCounts = ()
"""The empty multiset; every bound of it is epsilon 0."""

_KINDS: dict[str, type[DpEvent]] = {
    "discrete_gaussian": DiscreteGaussianEvent,
    "discrete_laplace": DiscreteLaplaceEvent,
    "vector_discrete_gaussian": VectorGaussianEvent,
    "pure_dp": PureDpEvent,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def event_to_json(event: DpEvent) -> dict[str, Any]:
    """The stored form of one event: JSON types only, floats exact on reading back."""
    fields = {name: getattr(event, name) for name in type(event).__slots__}
    return {"version": STORED_VERSION, "event": _NAMES[type(event)], **fields}


def event_from_json(document: Mapping[str, Any]) -> DpEvent:
    """The event of a stored form.

    Args:
        document: What `event_to_json` returned, as read back from the ledger.

    Raises:
        DataError: The version or kind is unknown, or a field is missing or malformed. A loss that cannot be read is
            never taken as zero.
    """
    fields = {name: value for name, value in document.items() if name not in ("version", "event")}
    kind = _KINDS.get(str(document.get("event")))
    if document.get("version") != STORED_VERSION or kind is None:
        raise DataError(
            f"a stored privacy event has version {document.get('version')} and kind {document.get('event')!r}",
            hint="it was written by a newer dpdau: use that version with this ledger",
        )
    try:
        return kind(**fields)
    except (TypeError, InternalError) as error:
        raise DataError(
            f"a stored privacy event of kind {document['event']!r} has malformed fields",
            hint="run `dpdau restore`; nothing can be released while its losses are unreadable",
        ) from error


def count_events(events: Iterable[DpEvent]) -> EventCounts:
    """The multiset of `events`, in canonical form."""
    return _canonical(Counter(events))


def merge_events(*multisets: EventCounts) -> EventCounts:
    """The sum of multisets: what their releases cost together."""
    total: Counter[DpEvent] = Counter()
    for multiset in multisets:
        for event, count in multiset:
            total[event] += count
    return _canonical(total)


def repeat_event(event: DpEvent, times: int) -> EventCounts:
    """The multiset holding `event` `times` times (>= 0)."""
    return ((event, times),) if times > 0 else NO_EVENTS


def _canonical(counter: Counter[DpEvent]) -> EventCounts:
    return tuple(sorted(counter.items(), key=lambda item: (_NAMES[type(item[0])], repr(item[0]))))
