"""Correlated noise through the whole release path: openings, the life of the offset (its error: test_release_bars)."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dpdau_assets.core.mechanisms.calibration import mechanism_from_parameters
from dpdau_assets.core.quantities import DayRange
from dpdau_assets.errors import DpdauError
from dpdau_assets.operations.budget.reset import reset_budget
from dpdau_assets.operations.budget.shared_noise import (
    destroy_closed_shared_noise,
    last_day_of_shared_noise,
    shared_noise_keys,
)
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.exports.report import write_report
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.recover.restore import restore
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.ledger import accounts as budget
from dpdau_tests.support.planted_counts import TRUE, NumberedSharedNoise, open_planted
from dpdau_tests.support.release_folders import JANUARY, charges_of, releases_of

FEW = DayRange(date(2025, 1, 1), date(2025, 1, 3))
DURING = datetime(2025, 2, 1, 12, tzinfo=UTC)


def folder(path: Path, **overrides: Any) -> Workspace:
    return open_planted(path, **{"mechanism": "correlated", "now": DURING, **overrides})


def account_of(workspace: Workspace, metric: str, period: str = "2025-01") -> budget.Account:
    with workspace.ledger.read() as connection:
        found = budget.current_account(connection, metric, period)
    assert found is not None
    return found


def kinds(workspace: Workspace) -> list[str]:
    return [kind for _, _, kind in charges_of(workspace)]


def shared_noise_used(workspace: Workspace) -> list[int]:
    """Which offset each stored value of dau holds, in the order of their charges, in millions."""
    drawn = [release.drawn for release in sorted(releases_of(workspace), key=lambda release: release.charge)]
    return [round((value - 2 * TRUE["dau"]) / 1_000_000) for value in drawn]


def recomputed_loss(workspace: Workspace, *metrics: str, period: str = "2025-01") -> float:
    """The loss of everything charged in a month, from the rows' own text and dp_accounting alone."""
    from dp_accounting.pld import common, privacy_loss_distribution

    with workspace.ledger.read() as connection:
        rows = connection.exec_driver_sql("SELECT metric, events FROM charges WHERE period = ?", (period,)).all()
    counted: dict[str, int] = {}
    for metric, events in rows:
        for event in json.loads(events) if metric in metrics else []:
            counted[json.dumps(event)] = counted.get(json.dumps(event), 0) + 1
    composed = privacy_loss_distribution.identity()
    for text, count in counted.items():
        event = json.loads(text)
        if event["event"] == "pure_dp":
            parameters = common.DifferentialPrivacyParameters(event["epsilon"], 0.0)
            single = privacy_loss_distribution.from_privacy_parameters(parameters)
        else:
            assert event["event"] == "discrete_gaussian"
            single = privacy_loss_distribution.from_discrete_gaussian_mechanism(
                event["stddev"], sensitivity=event["l2_sensitivity"], use_connect_dots=True
            )
        composed = composed.compose(single.self_compose(count))
    return float(composed.get_epsilon_for_delta(1e-6))


class TestMonth:
    def test_a_month_of_kmv_holds_its_search_as_well(self, tmp_path: Path) -> None:
        """The first threshold's search is planned for: it, the opening, 31 days and two revisions fit the cap."""
        workspace = folder(tmp_path, sketch_impl="kmv")
        publish_releases(workspace, ("dau",), JANUARY)
        revised = publish_releases(workspace, ("dau",), FEW, revise=True, reason="time zone was wrong")
        assert [len(revised.newly_released), len(revised.refused)] == [2, 1]
        assert sorted(set(kinds(workspace))) == ["opening", "release", "revision", "threshold"]
        assert 2.99 < recomputed_loss(workspace, "dau") <= 3.0

    def test_each_value_is_twice_the_count_and_both_noises(self, tmp_path: Path) -> None:
        """What a stored draw leaves after 2 X and the account's offset is the fresh noise, new on each day."""
        workspace = folder(tmp_path)
        published = publish_releases(workspace, ("dau",), JANUARY)
        account = account_of(workspace, "dau")
        shared_noise = shared_noise_keys(workspace).open(account)
        assert shared_noise is not None
        fresh = [result.drawn - 2 * TRUE["dau"] - shared_noise for result in published.results]
        stddev = account.parameters["release_stddev"]
        assert len(set(fresh)) > 15
        assert 0.4 * stddev < (sum(noise**2 for noise in fresh) / 31) ** 0.5 < 1.7 * stddev
        assert [result.estimate for result in published.results] == [result.drawn / 2 for result in published.results]
        mechanism = mechanism_from_parameters(account.mechanism, account.parameters)
        assert {result.epsilon_used for result in published.results} == {mechanism.epsilon}

    def test_budget_and_files_show_it(self, tmp_path: Path) -> None:
        """After three of 33 planned releases 30 remain; export and page hold the halves; everything verifies."""
        workspace = folder(tmp_path)
        published = publish_releases(workspace, ("dau",), FEW)
        stated = report_budget(workspace, "dau", "2025-01")
        assert (stated.releases_remaining, stated.release_count) == (30, 3)
        assert report_budget(workspace, "dau", "2025-02").releases_remaining == 30
        assert report_budget(workspace, "wau", "2025-01").releases_remaining == 33
        assert stated.trailing_365d_epsilon > 0
        text = export_metrics(workspace)[0].read_text()
        for result in published.results:
            assert f"dau,{result.day},1,true,1,{result.estimate:g}," in text
        assert "correlated" in text
        assert write_report(workspace).exists()
        assert [finding for finding in verify(workspace).findings if finding.kind == "budget"] == []


class TestOpening:
    def test_is_charged_once_with_the_first_release(self, tmp_path: Path) -> None:
        """The first release of an account charges the offset and itself, later ones and other processes themselves."""
        workspace = folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(FEW.first))
        assert kinds(workspace) == ["opening", "release"]
        publish_releases(folder(tmp_path), ("dau",), FEW)
        publish_releases(folder(tmp_path), ("wau",), DayRange.single(FEW.first))
        assert kinds(workspace) == ["opening", "release", "release", "release", "opening", "release"]
        keys = shared_noise_keys(workspace)
        assert keys.kept() == {account_of(workspace, metric).account for metric in ("dau", "wau")}

    def test_one_shared_noise_however_many_ask_at_once(self, tmp_path: Path) -> None:
        """Four operators releasing different days of a month at the same time share one opening."""
        folder(tmp_path).close()

        def ask(day: int) -> None:
            publish_releases(folder(tmp_path), ("dau",), DayRange.single(date(2025, 1, day)))

        threads = [Thread(target=ask, args=(day,)) for day in (1, 2, 3, 4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        workspace = folder(tmp_path)
        assert sorted(kinds(workspace)) == ["opening", *["release"] * 4]
        assert shared_noise_keys(workspace).open(account_of(workspace, "dau")) is not None

    def test_a_rolled_back_shared_noise_charge_leaves_nothing_to_pay(self, tmp_path: Path) -> None:
        """If the release cannot be stored its opening is not charged, and the key left over is replaced."""
        workspace = folder(tmp_path)
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(DpdauError):
            publish_releases(workspace, ("dau",), FEW)
        assert charges_of(workspace) == []
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER refuse")
        publish_releases(workspace, ("dau",), FEW)
        assert kinds(workspace) == ["opening", "release", "release", "release"]

    def test_a_reset_opens_its_own(self, tmp_path: Path) -> None:
        """The account after a reset has an offset and an opening of its own, and its values hold that one."""
        noise = NumberedSharedNoise()
        workspace = folder(tmp_path, noise=noise, total_budget_month=20.0)
        publish_releases(workspace, ("dau",), FEW)
        before = account_of(workspace, "dau")
        reset_budget(workspace, "dau", "2025-01", "approved by the data officer")
        publish_releases(workspace, ("dau",), FEW, revise=True, reason="time zone was wrong")
        after = account_of(workspace, "dau")
        assert after.account != before.account
        assert [shared_noise_keys(workspace).open(account) for account in (before, after)] == [1_000_000, 2_000_000]
        assert shared_noise_used(workspace) == [1, 1, 1, 2, 2, 2]
        assert kinds(workspace) == ["opening", *["release"] * 3, "opening", *["revision"] * 3]

    def test_a_change_of_mechanism_starts_with_the_next_month(self, tmp_path: Path) -> None:
        """January goes on correlated when the setting becomes gaussian; February is gaussian and has no offset."""
        publish_releases(folder(tmp_path), ("dau",), DayRange.single(FEW.first))
        later = folder(tmp_path, mechanism="gaussian", now=datetime(2025, 2, 4, 12, tzinfo=UTC))
        published = publish_releases(later, ("dau",), DayRange(date(2025, 1, 31), date(2025, 2, 1)))
        assert [result.mechanism for result in published.results] == ["correlated", "gaussian"]
        assert account_of(later, "dau", "2025-02").sealed_offset is None
        assert kinds(later) == ["opening", "release", "release", "release"]


class TestLifeOfTheSharedNoise:
    def test_lasts_35_days_after_the_month(self) -> None:
        """January's offset may be used until 7 March; one opened after that lasts 35 days."""
        assert {last_day_of_shared_noise("2025-01", date(2025, month, 2)) for month in (1, 2, 3)} == {date(2025, 3, 7)}
        assert last_day_of_shared_noise("2025-01", date(2025, 6, 1)) == date(2025, 7, 6)

    @pytest.mark.parametrize(("day", "is_kept"), [(7, True), (8, False)])
    def test_its_key_is_destroyed_by_the_next_release(self, tmp_path: Path, day: int, is_kept: bool) -> None:
        """On 7 March a release leaves January's key, on 8 March any release removes it; stored values stay."""
        published = publish_releases(folder(tmp_path), ("dau",), FEW)
        later = folder(tmp_path, now=datetime(2025, 3, day, 12, tzinfo=UTC))
        account = account_of(later, "dau")
        publish_releases(later, ("wau",), DayRange.single(date(2025, 3, 1)))
        assert shared_noise_keys(later).can_open(account) is is_kept
        assert publish_releases(later, ("dau",), FEW).results == published.results

    def test_afterwards_a_release_pays_for_a_new_one_under_the_same_cap(self, tmp_path: Path) -> None:
        """A release of the closed month charges a second opening to the same account and has another offset."""
        noise = NumberedSharedNoise()
        workspace = folder(tmp_path, noise=noise)
        publish_releases(workspace, ("dau",), FEW)
        before = account_of(workspace, "dau")
        later = folder(tmp_path, noise=noise, now=datetime(2025, 4, 1, 12, tzinfo=UTC))
        rest = DayRange(date(2025, 1, 4), date(2025, 1, 31))
        published = publish_releases(later, ("dau",), rest)
        after = account_of(later, "dau")
        assert after.account == before.account
        assert [shared_noise_keys(later).open(account) for account in (before, after)] == [None, 2_000_000]
        assert kinds(later).count("opening") == 2
        made = len(published.newly_released)
        assert shared_noise_used(later) == [1] * 3 + [2] * made
        assert 10 < made < 28
        assert {refusal.scope for refusal in published.refused} == {"metric"}
        assert recomputed_loss(later, "dau") <= 3.0
        assert report_budget(later, "dau", "2025-01").releases_remaining == 0
        with later.ledger.read() as connection:
            assert budget.accounts_of(connection, "dau", "2025-01") == [after]

    def test_a_lost_key_is_never_guessed(self, tmp_path: Path) -> None:
        """A key that is missing makes the next release pay for a new offset and use it; what is stored stays."""
        noise = NumberedSharedNoise()
        workspace = folder(tmp_path, noise=noise)
        first = publish_releases(workspace, ("dau",), DayRange.single(FEW.first))
        shared_noise_keys(workspace).path(account_of(workspace, "dau").account).unlink()
        both = publish_releases(workspace, ("dau",), DayRange(FEW.first, date(2025, 1, 2)))
        assert both.results[0] == first.results[0]
        assert shared_noise_used(workspace) == [1, 2]
        assert kinds(workspace) == ["opening", "release", "opening", "release"]

    def test_a_second_charge_that_is_rolled_back_blocks_nothing(self, tmp_path: Path) -> None:
        """The new key is there and the old sealed offset too: the next release pays for another opening, once."""
        workspace = folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(FEW.first))
        account = account_of(workspace, "dau")
        shared_noise_keys(workspace).path(account.account).unlink()
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(DpdauError):
            publish_releases(workspace, ("dau",), FEW)
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER refuse")
        assert shared_noise_keys(workspace).path(account.account).exists() and account_of(workspace, "dau") == account
        assert report_budget(workspace, "dau", "2025-01").releases_remaining < 30  # the opening is counted
        publish_releases(workspace, ("dau",), FEW)
        assert kinds(workspace) == ["opening", "release", "opening", "release", "release"]

    def test_destroying_is_harmless_to_repeat(self, tmp_path: Path) -> None:
        """Only closed months' keys go, once; without keys nothing is opened for writing."""
        workspace = folder(tmp_path)
        assert destroy_closed_shared_noise(workspace) == 0
        publish_releases(workspace, ("dau", "mau"), DayRange.single(FEW.first))
        assert destroy_closed_shared_noise(workspace) == 0
        later = folder(tmp_path, now=datetime(2025, 5, 1, 12, tzinfo=UTC))
        assert [destroy_closed_shared_noise(later), destroy_closed_shared_noise(later)] == [2, 0]

    def test_a_restore_goes_on_with_the_same_shared_noise(self, tmp_path: Path) -> None:
        """A ledger put back from a copy and the journal holds the sealed offset again; nothing is paid twice."""
        workspace = folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(FEW.first))
        backup(workspace)
        published = publish_releases(workspace, ("dau", "wau"), FEW)
        accounts = [account_of(workspace, metric) for metric in ("dau", "wau")]
        shared_noises = [shared_noise_keys(workspace).open(account) for account in accounts]
        workspace.close()
        for path in sorted((tmp_path / "ledgers").glob("ledger.sqlite*")):
            path.unlink()
        restore(workspace.settings, clock=workspace.clock)
        again = folder(tmp_path)
        assert [account_of(again, metric) for metric in ("dau", "wau")] == accounts
        assert [shared_noise_keys(again).open(account) for account in accounts] == shared_noises
        assert publish_releases(again, ("dau", "wau"), FEW).results == published.results
        publish_releases(again, ("dau",), DayRange.single(date(2025, 1, 4)))
        assert kinds(again).count("opening") == 2

    def test_a_restore_after_a_second_charge_has_the_second_shared_noise(self, tmp_path: Path) -> None:
        """The journal tells of every new offset of an account, the newest last."""
        workspace = folder(tmp_path)
        publish_releases(workspace, ("dau",), DayRange.single(FEW.first))
        backup(workspace)
        shared_noise_keys(workspace).destroy([account_of(workspace, "dau").account])
        publish_releases(workspace, ("dau",), FEW)
        account = account_of(workspace, "dau")
        workspace.close()
        for path in sorted((tmp_path / "ledgers").glob("ledger.sqlite*")):
            path.unlink()
        restore(workspace.settings, clock=workspace.clock)
        again = folder(tmp_path)
        assert account_of(again, "dau") == account
        assert shared_noise_keys(again).open(account) is not None
        assert kinds(again) == ["opening", "release", "opening", "release", "release"]
