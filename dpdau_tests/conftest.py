"""Fixtures every test may use."""

from __future__ import annotations

import importlib.util
import itertools
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from absl import logging as absl_logging

from dpdau_tests import REPOSITORY

LONGEST = ("test_audit.py", "test_dagster_live.py", "test_released_noise.py", "test_crash_campaign.py", "test_demo.py")
RECORD = "record of a campaign"
RECORDS = Path("data", "experiments", "campaigns")
KeepRecord = Callable[[Callable[[], str]], None]
REPETITIONS = ("statistical", "property", "laws", "architecture")


def pytest_configure() -> None:
    """Undo two surprises of Dagster runs inside a test's process.

    Dagster resets logging when it starts a run, and absl's handler, loaded by the accounting library, then closes the
    stream it found, pytest's capture file, unless that is the real standard error. Dagster also gives SIGTERM the
    handler of SIGINT, which a shell ignores in what it runs in the background: no child of that process could be ended.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
    if controller is None or not (is_repetition or _is_later_parameter(item)):
        return (yield)
    controller.pause()
    try:
        return (yield)
    finally:
        controller.resume()


def _is_later_parameter(item: pytest.Item) -> bool:
    """Whether the test's function has run, or will run, with a first set of parameters as well."""
    call = getattr(item, "callspec", None)
    return call is not None and any(call.indices.values())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that all workers end together, and give the marks that follow from others.

    `one_is_enough`: from the second set of parameters on, the test is slow. `requires_theta`: the test skips, and says
    why, where Apache DataSketches is not installed.
    """
    for item in items:
        if item.get_closest_marker("one_is_enough") and _is_later_parameter(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if importlib.util.find_spec("datasketches") is None:
        skip = pytest.mark.skip(reason="needs Apache DataSketches: pip install 'dpdau-assets[theta]'")
        for item in items:
            if item.get_closest_marker("requires_theta"):
                item.add_marker(skip)


@pytest.fixture
def keep_record(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[KeepRecord]:
    """Keeps what a campaign counted, also of one that fails: in a file below data/ and in the session's summary."""
    kept: list[Callable[[], str]] = []
    yield kept.append
    for text in kept:
        path = request.config.rootpath / RECORDS / f"{request.node.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text()}\n", encoding="utf-8")
        record_property(RECORD, f"{path}\n\n{text()}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was kept: workers have no terminal of their own, and hand it over with the report of a test."""
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            for text in [value for name, value in report.user_properties if name == RECORD]:
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(str(text))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real activity data beside the checkout; tests that need it skip where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not (folder / "online_retail.parquet").is_file():
        pytest.skip(f"real activity data is not beside this checkout ({folder.name}/online_retail.parquet)")
    return folder
