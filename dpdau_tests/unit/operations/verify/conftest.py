"""A built data folder for the tests of verification, made once; every test works on a copy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpdau_assets.operations.session.workspace import Workspace
from dpdau_tests.support.verified_folders import build
from dpdau_tests.support.workspaces import copy_of


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A built folder."""
    return build(tmp_path_factory.mktemp("built"), "kmv")


@pytest.fixture
def workspace(built: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the built folder."""
    return copy_of(built, tmp_path / "data")
