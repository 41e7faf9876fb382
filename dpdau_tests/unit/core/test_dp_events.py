"""Laws of core/dp_events.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpdau_assets.core.dp_events import (
    NO_EVENTS,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    DpEvent,
    PureDpEvent,
    count_events,
    event_from_json,
    event_to_json,
    merge_events,
    repeat_event,
)
from dpdau_assets.errors import DataError, InternalError

positive = st.floats(min_value=1e-6, max_value=1e9)
any_event: st.SearchStrategy[DpEvent] = st.one_of(
    st.builds(DiscreteGaussianEvent, positive, st.integers(1, 5)),
    st.builds(DiscreteLaplaceEvent, positive, st.integers(1, 5)),
    st.builds(PureDpEvent, positive),
)


class TestStoredForm:
    @given(event=any_event)
    def test_survives_text(self, event: DpEvent) -> None:
        """An event written as JSON text reads back equal, floats to the last bit."""
        assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event

    def test_is_pinned(self) -> None:
        """The stored form of version 1 never changes."""
        assert event_to_json(DiscreteGaussianEvent(12.5)) == {
            "version": 1,
            "event": "discrete_gaussian",
            "stddev": 12.5,
            "l2_sensitivity": 1,
        }
        assert event_to_json(DiscreteLaplaceEvent(2.0)) == {
            "version": 1,
            "event": "discrete_laplace",
            "scale": 2.0,
            "l1_sensitivity": 1,
        }
        assert event_to_json(PureDpEvent(0.05)) == {"version": 1, "event": "pure_dp", "epsilon": 0.05}

    @pytest.mark.parametrize(
        "document",
        [
            {},
            {"version": 2, "event": "pure_dp", "epsilon": 0.05},
            {"version": 1, "event": "tree", "epsilon": 0.05},
            {"version": 1, "event": ["pure_dp"], "epsilon": 0.05},
            {"version": 1, "event": "pure_dp"},
            {"version": 1, "event": "pure_dp", "epsilon": 0.05, "more": 1},
            {"version": 1, "event": "pure_dp", "epsilon": -0.05},
            {"version": 1, "event": "discrete_gaussian", "stddev": "nine"},
        ],
    )
    def test_refuses_what_it_does_not_know(self, document: dict[str, object]) -> None:
        """A stored loss that cannot be read is an error, never a loss of zero."""
        with pytest.raises(DataError):
            event_from_json(document)

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
    def test_has_no_free_events(self, value: float) -> None:
        """No event can be made whose parameter would mean no noise, or noise without end."""
        for kind in (DiscreteGaussianEvent, DiscreteLaplaceEvent, PureDpEvent):
            with pytest.raises(InternalError):
                kind(value)


class TestMultiset:
    @given(events=st.lists(any_event, max_size=8), data=st.data())
    def test_ignores_order(self, events: list[DpEvent], data: st.DataObject) -> None:
        """The same events in any order are the same multiset."""
        assert count_events(data.draw(st.permutations(events))) == count_events(events)

    @given(left=st.lists(any_event, max_size=8), right=st.lists(any_event, max_size=8))
    def test_merges_like_concatenation(self, left: list[DpEvent], right: list[DpEvent]) -> None:
        """Merging two multisets counts both lists together."""
        assert merge_events(count_events(left), count_events(right)) == count_events(left + right)

    def test_empty(self) -> None:
        """No events, no repetition and an empty merge are the one empty multiset."""
        assert count_events([]) == repeat_event(PureDpEvent(1.0), 0) == merge_events() == NO_EVENTS
