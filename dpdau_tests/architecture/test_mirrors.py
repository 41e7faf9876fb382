"""Every module of operations has a test file of its name; unit/test_mirrors.py shows that each holds a law."""

from __future__ import annotations

from dpdau_tests import REPOSITORY
from dpdau_tests.support.neutral import mirror_of, modules_to_mirror


class TestMirrors:
    def test_every_module_of_operations_has_a_mirror(self) -> None:
        """dpdau_tests/unit/operations/ROOM/test_MODULE.py exists for every module whose main function does anything."""
        modules = modules_to_mirror()
        assert len(modules) > 50
        without = [module for module in modules if not (REPOSITORY / mirror_of(module)).is_file()]
        assert without == [], "a test file of its name in unit/operations tells what a module promises"
