"""Fixtures every test may use."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from absl import logging as absl_logging

REPOSITORY = Path(__file__).resolve().parent.parent
REPETITIONS = ("statistical", "property", "laws", "architecture")


def pytest_configure() -> None:
    """Keep absl, which the accounting library loads, from closing pytest's capture file.

    Dagster resets logging when it starts a run in this process, and absl's handler then closes the stream it found when
    it was loaded, unless that is the real standard error.
    """
    absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Coverage is measured by the tests of single modules and operations, fixtures included.

    Tracing every line costs two thirds more time. Tests that repeat the same lines thousands of times, or whose work is
    done by other processes, add nothing to it: they run untraced.
    """
    traced = item.config.pluginmanager.getplugin("_cov")
    controller = getattr(traced, "cov_controller", None)
    is_repetition = item.path.parent.name in REPETITIONS or item.get_closest_marker("untraced") is not None
    if controller is None or not is_repetition:
        return (yield)
    controller.pause()
    try:
        return (yield)
    finally:
        controller.resume()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `requires_theta` skip, and say why, where Apache DataSketches is not installed."""
    if importlib.util.find_spec("datasketches") is None:
        skip = pytest.mark.skip(reason="needs Apache DataSketches: pip install 'dpdau-assets[theta]'")
        for item in items:
            if item.get_closest_marker("requires_theta"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real activity data beside the checkout; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not (folder / "online_retail.parquet").is_file():
        pytest.skip(f"real activity data is not beside this checkout ({folder.name}/online_retail.parquet)")
    return folder
