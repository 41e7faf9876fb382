"""Releases by many processes at once, and by processes that are killed: one charge, one draw, one value."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.release_folders import (
    NEW_YEAR,
    add_activity,
    charges_of,
    everybody,
    open_folder,
    releases_of,
    thresholds_found,
)

pytestmark = pytest.mark.untraced

Answers = list[tuple[str, str, int, int]]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the program beside this file."""
    command = [sys.executable, "-m", "dpdau_tests.support.release_process", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def crowd(folder: Path, *, processes: int, requests: int, days: int, **overrides: object) -> Answers:
    """Everything that everybody was told."""
    done = run("crowd", str(folder), str(processes), str(requests), str(days), json.dumps(overrides))
    assert done.returncode == 0, done.stderr[-2000:]
    files = sorted(folder.glob("answers-*.json"))
    assert len(files) == processes
    return [tuple(answer) for file in files for answer in json.loads(file.read_text())]


class TestManyProcesses:
    def test_sixteen_processes_draw_each_value_once(self, tmp_path: Path) -> None:
        """16 processes x 50 requests: one charge per metric and day, and all callers see the same value."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, everybody(30, days=4))
        answers = crowd(tmp_path, processes=16, requests=50, days=4)
        assert len(answers) == 800
        charged = Counter((metric, day.isoformat()) for metric, day, kind in charges_of(workspace) if kind == "release")
        assert set(charged.values()) == {1}
        assert len(charges_of(workspace)) == 12 + len(METRICS)  # and one opening of each account
        assert len(set(answers)) == len(charged) == 12
        stored = {
            (found.metric, found.day.isoformat(), found.revision, found.drawn) for found in releases_of(workspace)
        }
        assert set(answers) == stored

    def test_forked_processes_do_not_repeat_draws(self, tmp_path: Path) -> None:
        """Processes forked from one parent draw independent noise: equal counts get different values."""
        answers = crowd(tmp_path, processes=4, requests=14, days=12)
        drawn = [value for metric, *_, value in set(answers) if metric == "dau"]
        assert len(drawn) >= 8
        assert len(set(drawn)) > len(drawn) / 2

    @pytest.mark.slow
    def test_the_first_threshold_is_searched_once(self, tmp_path: Path) -> None:
        """However many processes make the first kmv releases, each metric pays for one AboveThreshold run."""
        workspace = open_folder(tmp_path, sketch_impl="kmv")
        add_activity(workspace, everybody(30, days=2))
        crowd(tmp_path, processes=8, requests=12, days=2, sketch_impl="kmv")
        kinds = Counter((metric, kind) for metric, _, kind in charges_of(workspace))
        assert {kinds[metric, "threshold"] for metric in ("dau", "wau", "mau")} == {1}
        assert {kinds[metric, "release"] for metric in ("dau", "wau", "mau")} == {2}
        assert thresholds_found(workspace, "dau")[0] > 0

    @pytest.mark.slow
    @pytest.mark.parametrize("mechanism", ["correlated", "joint"])
    def test_shared_noise_is_charged_once(self, tmp_path: Path, mechanism: str) -> None:
        """However many processes make a month's first releases, each account pays for one offset, and one key is kept
        for it; joint values of a day come from one draw, whoever asked for which metric."""
        workspace = open_folder(tmp_path, mechanism=mechanism)
        add_activity(workspace, everybody(30, days=3))
        answers = crowd(tmp_path, processes=4, requests=12, days=3, mechanism=mechanism)
        kinds = Counter((metric, kind) for metric, _, kind in charges_of(workspace))
        names = ("joint",) if mechanism == "joint" else METRICS
        assert {kinds[name, "opening"] for name in names} == {1}
        assert len(list(workspace.lake.shared_noise_keys_folder.iterdir())) == len(names)
        assert len({answer[:3] for answer in answers}) == len(set(answers)) == len(releases_of(workspace)) == 9
        assert kinds.total() == 9 + len(names)

    @pytest.mark.slow
    def test_processes_share_a_tight_budget(self, tmp_path: Path) -> None:
        """Processes that race for the last of a budget never charge more than fits: 3 releases of 0.3 under 0.9."""
        tight = {"mechanism": "laplace", "dau_budget_total": 0.9, "wau_budget_total": 0.8, "mau_budget_total": 1.0}
        workspace = open_folder(tmp_path, **tight)
        crowd(tmp_path, processes=3, requests=14, days=8, **tight)
        made = Counter(metric for metric, _, _ in charges_of(workspace))
        assert made == {"dau": 3, "wau": 2, "mau": 2}


class TestKilledProcesses:
    @pytest.mark.parametrize(
        ("mechanism", "point"),
        [
            ("correlated", "after key"),
            ("correlated", "after commit"),
            *(
                pytest.param(mechanism, point, marks=pytest.mark.slow)
                for mechanism in ("correlated", "joint")
                for point in ("after key", "before charge", "after charge", "before commit", "after commit")
                if mechanism == "joint" or not point.startswith("after ") or point == "after charge"
            ),
        ],
    )
    @pytest.mark.one_is_enough
    @pytest.mark.slow
    def test_a_killed_shared_noise_charge_is_complete_or_absent(
        self, tmp_path: Path, mechanism: str, point: str
    ) -> None:
        """SIGKILL anywhere leaves no offset without its charge and release; the retry opens at most once, and its key
        is the only one."""
        workspace = open_folder(tmp_path, mechanism=mechanism)
        add_activity(workspace, everybody(30))
        assert run("die", str(tmp_path), point, mechanism).returncode == -signal.SIGKILL
        committed = releases_of(workspace)
        assert bool(committed) == bool(charges_of(workspace)) == (point == "after commit")
        retried = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert [kind for _, _, kind in charges_of(workspace)].count("opening") == 1
        assert len(list(workspace.lake.shared_noise_keys_folder.iterdir())) == 1
        later = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR + timedelta(days=1)))
        assert len(later.newly_released) == 1
        assert [kind for _, _, kind in charges_of(workspace)].count("opening") == 1
        if committed:
            assert retried.newly_released == ()

    @pytest.mark.parametrize(
        "point",
        [
            *(pytest.param(point, marks=pytest.mark.slow) for point in ("before charge", "before commit")),
            "after charge",
            "after commit",
        ],
    )
    @pytest.mark.one_is_enough
    def test_a_killed_release_is_complete_or_absent(self, tmp_path: Path, point: str) -> None:
        """SIGKILL anywhere leaves no charge without its release; the retry charges nothing twice."""
        workspace = open_folder(tmp_path, mechanism="gaussian")
        add_activity(workspace, everybody(30))
        assert run("die", str(tmp_path), point).returncode == -signal.SIGKILL
        committed = releases_of(workspace)
        assert len(committed) == len(charges_of(workspace)) == (1 if point == "after commit" else 0)
        retried = publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert [found.drawn for found in releases_of(workspace)] == [retried.results[0].drawn]
        assert len(charges_of(workspace)) == 1
        if committed:
            assert retried.results[0].drawn == committed[0].drawn
            assert retried.newly_released == ()
