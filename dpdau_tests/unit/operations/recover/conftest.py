"""A small built data folder for the tests of repairs and restores."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.operations.pipeline.bring_up_to_date import bring_up_to_date
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.workspaces import copy_of, new_workspace, stage_activity
from dpdau_tests.unit.operations.recover.damaged_folders import DAYS, LATER


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three built days and a staged one."""
    made = new_workspace(tmp_path_factory.mktemp("built") / "data", mau_window_days=8, sketch_impl="set")
    stage_activity(made, [(f"user-{number}", day) for day in DAYS for number in range(20)])
    bring_up_to_date(made, DAYS)
    stage_activity(made, [("late", LATER)])
    return made


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")
