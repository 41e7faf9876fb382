"""Every module of operations has a test file of its name; unit/test_mirrors.py shows that each holds a law."""

from __future__ import annotations

from dpdau_tests import REPOSITORY
from dpdau_tests.support.neutral import mirror_of, modules_to_mirror

MISSING_ON_THE_PATH = {
    "pipeline.bring_up_to_date",
    "pipeline.count_differences",
    "pipeline.daily_sketches",
    "pipeline.erasure_replay",
    "pipeline.mau_unions",
    "pipeline.raw_events",
    "pipeline.trusted_counts",
}
"""Modules of ingest, pipeline and lifecycle without a mirror yet. The list only shrinks."""


class TestMirrors:
    def test_every_module_of_operations_has_a_mirror(self) -> None:
        """dpdau_tests/unit/operations/ROOM/test_MODULE.py exists for every module but those still listed."""
        without = [module for module in modules_to_mirror() if not (REPOSITORY / mirror_of(module)).is_file()]
        assert {module.removeprefix("operations.") for module in without} == MISSING_ON_THE_PATH, (
            "a new module gets a test file of its name in unit/operations; a module that has one leaves the list"
        )
