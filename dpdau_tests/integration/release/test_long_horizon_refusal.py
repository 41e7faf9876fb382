"""Noise over a long horizon is for evaluation: releases refuse it at start, from configuration, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from
from dpdau_assets.core.mechanisms.planning import PeriodPlan
from dpdau_assets.errors import ConfigurationError
from dpdau_tests import REPOSITORY
from dpdau_tests.support.command_line import CommandLine

COMMANDS = [
    ("release", "--start", "2026-03-01", "--end", "2026-03-02"),
    ("mau", "--end", "2026-03-01"),
    ("plan",),
    ("status",),
]


@pytest.mark.parametrize("mechanism", ["tree", "matrix"])
class TestRefusal:
    def test_every_command_stops_at_start(self, tmp_path: Path, mechanism: str) -> None:
        """One line with the reason and what to use instead, exit 1, and nothing made: no ledger, no lake, no key."""
        dpdau = CommandLine(tmp_path / "project", SERIES_START="2026-03-01", MECHANISM=mechanism)
        for command in COMMANDS:
            answer = dpdau(*command)
            assert (answer.code, answer.out) == (1, "")
            assert len(answer.err.strip().splitlines()) == 1
            assert f"MECHANISM={mechanism}" in answer.err
            assert "limits on late events and erasures that releases do not enforce" in answer.err
            assert "docs/tree-aggregation.md" in answer.err
            assert "MECHANISM=gaussian" in answer.err
        assert not dpdau.data.exists()

    def test_the_choice_of_a_mechanism_refuses_it_too(self, tmp_path: Path, mechanism: str) -> None:
        """Behind the settings nothing turns the name into noise for a release."""
        plan = PeriodPlan(30, 3.0, 1e-6)
        with pytest.raises(ConfigurationError, match=f"MECHANISM={mechanism}"):
            mechanism_from(mechanism, epsilon=1.0, delta=1e-6, plan=plan)

    def test_the_page_that_is_named_exists(self, tmp_path: Path, mechanism: str) -> None:
        """docs/tree-aggregation.md names the mechanism and what is missing."""
        page = (REPOSITORY / "docs" / "tree-aggregation.md").read_text(encoding="utf-8")
        assert f"`MECHANISM={mechanism}`" in page
        assert "evaluation only" in page
