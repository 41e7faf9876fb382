"""The limit for rejected rows: the asset check and the alert answer from one rule."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dpdau_assets.operations.ingest.stage import stage_inbox
from dpdau_assets.operations.monitor.alerts import AlertKind, find_alerts
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.orchestration.checks import asset_checks
from dpdau_assets.orchestration.resources import LakeResource, LedgerResource
from dpdau_tests.support.workspaces import LONG_AFTER, new_workspace

DAY = date(2026, 5, 1)


def stage_source(workspace: Workspace, name: str, *, good: int, bad: int) -> None:
    """Stages a source with some rows that have no day."""
    rows = ["user_id,day", *(f"{name}-{number},{DAY}" for number in range(good)), *["x,never"] * bad]
    workspace.lake.inbox.mkdir(exist_ok=True)
    (workspace.lake.inbox / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    stage_inbox(workspace, [name])


@pytest.mark.parametrize(("hours", "is_told"), [(1, True), (48, False)])
def test_alert_and_check_agree(tmp_path: Path, hours: int, is_told: bool) -> None:
    """Of a bad source among many good rows both tell within a day; two days later neither does."""
    workspace = new_workspace(tmp_path / "data", quarantine_max_rate=0.2)
    stage_source(workspace, "bad.csv", good=3, bad=1)
    if is_told:
        stage_source(workspace, "good.csv", good=12, bad=0)
    workspace.close()
    moment = LONG_AFTER + timedelta(hours=hours)
    later = new_workspace(tmp_path / "data", now=moment, quarantine_max_rate=0.2)
    told = [alert for alert in find_alerts(later) if alert.kind is AlertKind.REJECTED_ROWS]
    later.close()
    ledger = LedgerResource(LakeResource(later.settings, lambda: moment))
    (check,) = [one for one in asset_checks() if {key.name for key in one.check_keys} == {"quarantine_rate"}]
    result = check(ledger=ledger)
    assert isinstance(result, dg.AssetCheckResult)
    assert (len(told), result.passed) == (int(is_told), not is_told)
