"""A-not-B from real key files: exact, sampled and through a Bloom filter; never released."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_assets.core.quantities import DayRange
from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.errors import ConfigurationError, UsageError
from dpdau_assets.evaluation.accuracy.differences import count_lost_users
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_tests.support.command_line import CommandLine, write_lines
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, add_erasure, open_folder

FIRST_WEEK = DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=6))
SECOND_WEEK = DayRange(NEW_YEAR + timedelta(days=7), NEW_YEAR + timedelta(days=13))


def activity(lost: int, kept: int, new: int) -> dict[date, list[str]]:
    """Users of the first week alone, of both weeks, and of the second week alone."""
    first = [f"lost-{number}" for number in range(lost)] + [f"kept-{number}" for number in range(kept)]
    second = [f"kept-{number}" for number in range(kept)] + [f"new-{number}" for number in range(new)]
    return {NEW_YEAR + timedelta(days=2): first, NEW_YEAR + timedelta(days=9): second}


class TestLostUsers:
    def test_are_counted_exactly(self, tmp_path: Path) -> None:
        """Users of the first week who are live on no day of the second, an erased one neither here nor there."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, activity(40, 25, 30))
        add_erasure(workspace, ["lost-3", "kept-5"], through=NEW_YEAR + timedelta(days=2))
        lost = count_lost_users(workspace, FIRST_WEEK, SECOND_WEEK)
        assert (lost.exact, lost.estimate.users, lost.estimate.predicted_bias) == (39, 39, 0)
        assert count_lost_users(workspace, SECOND_WEEK, FIRST_WEEK).exact == 31  # kept-5 was erased in the first week
        assert "39" not in repr(lost)

    def test_a_filter_biases_them_as_predicted(self, tmp_path: Path) -> None:
        """With USE_BLOOM_FOR_DIFF the estimate misses BLOOM_FP_RATE of them, within what chance explains."""
        workspace = open_folder(tmp_path, use_bloom_for_diff=True, bloom_fp_rate=0.2)
        add_activity(workspace, activity(6000, 1000, 3000))
        lost = count_lost_users(workspace, FIRST_WEEK, SECOND_WEEK)
        assert lost.exact == 6000
        assert lost.estimate.users - lost.exact == pytest.approx(-0.2 * 6000, rel=0.1)
        assert lost.estimate.predicted_bias == pytest.approx(lost.estimate.users - lost.exact, rel=0.1)

    def test_a_sample_estimates_them(self, tmp_path: Path) -> None:
        """Looking at a quarter of the users gives the number within 5 of its own deviations."""
        workspace = open_folder(tmp_path)
        add_activity(workspace, activity(2000, 100, 100))
        lost = count_lost_users(workspace, FIRST_WEEK, SECOND_WEEK, threshold=KEY_SPACE // 4)
        assert abs(lost.estimate.users - 2000) < 5 * (2000 * 3) ** 0.5
        assert lost.estimate.users % 4 == 0

    def test_days_under_different_salts_are_refused(self, tmp_path: Path) -> None:
        """No key tells that two users of far-apart days are one: the question is refused."""
        workspace = open_folder(tmp_path)
        later = DayRange.single(NEW_YEAR + timedelta(days=200))
        with pytest.raises(UsageError, match="salt changes"):
            count_lost_users(workspace, FIRST_WEEK, later)

    def test_nothing_is_released_meanwhile(self, tmp_path: Path) -> None:
        """While USE_BLOOM_FOR_DIFF is set every release is refused, whatever the sketch."""
        workspace = open_folder(tmp_path, use_bloom_for_diff=True)
        with pytest.raises(ConfigurationError, match="USE_BLOOM_FOR_DIFF"):
            publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))


class TestCommand:
    WEEKS = f"{FIRST_WEEK.first}..{FIRST_WEEK.last},{SECOND_WEEK.first}..{SECOND_WEEK.last}"

    def ingested(self, folder: Path, **settings: str) -> CommandLine:
        """A project with 900 users who leave after the first week, 100 who stay and 50 who come."""
        dpdau = CommandLine(folder, SERIES_START=str(NEW_YEAR), **settings)
        rows = [(user, day) for day, users in activity(900, 100, 50).items() for user in users]
        dpdau.json("ingest", write_lines(folder / "events.jsonl", rows))
        return dpdau

    def test_counts_exactly_and_warns(self, tmp_path: Path) -> None:
        """Without a filter there is the exact number, no error, and the warning of the trusted side."""
        dpdau = self.ingested(tmp_path)
        answer = dpdau("evaluate", "--difference", self.WEEKS, "--json")
        assert (answer.document["exact"], answer.document["error"], answer.document["bloom_fp_rate"]) == (900, 0, None)
        assert "EXACT and NOT PRIVATE" in answer.err
        assert "900 users" in dpdau("evaluate", "--difference", self.WEEKS).out
        one_day = f"{NEW_YEAR + timedelta(days=9)},{NEW_YEAR + timedelta(days=2)}"
        assert dpdau.json("evaluate", "--difference", one_day)["exact"] == 50

    def test_shows_the_error_of_the_filter(self, tmp_path: Path) -> None:
        """With USE_BLOOM_FOR_DIFF the estimate stands beside the exact number, with its error and the predicted one."""
        dpdau = self.ingested(tmp_path, USE_BLOOM_FOR_DIFF="true", BLOOM_FP_RATE="0.2")
        found = dpdau.json("evaluate", "--difference", self.WEEKS)
        assert (found["exact"], found["bloom_fp_rate"]) == (900, 0.2)
        assert found["error"] == found["estimate"] - 900
        assert found["error"] == pytest.approx(-0.2 * 900, rel=0.35)
        assert found["predicted_bias"] == pytest.approx(-0.2 * 900, rel=0.15)
        text = dpdau("evaluate", "--difference", self.WEEKS).out
        assert f"error {found['error']:+,.0f}, predicted {found['predicted_bias']:+,.0f}" in text

    @pytest.mark.parametrize("days", ["2025-01-01", "2025-01-02..2025-01-01,2025-01-03", "a,b", "1..2..3,2025-01-01"])
    def test_bad_stretches_are_one_line(self, tmp_path: Path, days: str) -> None:
        """What is no pair of stretches is a usage error, and no data folder is made."""
        answer = CommandLine(tmp_path)("evaluate", "--difference", days)
        assert (answer.code, len(answer.err.strip().splitlines())) == (2, 1)
        assert not (tmp_path / "data").exists()

    def test_days_to_come_are_refused(self, tmp_path: Path) -> None:
        """Days after tomorrow hold nobody yet."""
        assert self.ingested(tmp_path)("evaluate", "--difference", f"{NEW_YEAR},2199-01-01").code == 5
