"""Facts that several readers need are said in one module: the others do not say them again."""

from __future__ import annotations

import ast

from dpdau_tests.architecture.source_tree import modules


def _importers(names: set[str], of: str) -> set[str]:
    """Modules that take one of `names` out of the module `of`, by its name or as an attribute of the module."""
    found = set()
    for module in modules():
        for node in ast.walk(module.tree):
            by_name = isinstance(node, ast.ImportFrom) and node.module == of
            if by_name and any(alias.name in names for alias in node.names):
                found.add(module.name)
            is_attribute = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if is_attribute and node.value.id == of.rpartition(".")[2] and node.attr in names:
                found.add(module.name)
    return found


class TestCalendar:
    def test_one_module_closes_days_by_the_settings(self) -> None:
        """TIMEZONE and the delay are put together with the clock in `operations.session.calendar` alone."""
        found = _importers({"last_closed_day", "close_time"}, "dpdau_assets.core.quantities")
        assert found == {"dpdau_assets.operations.session.calendar"}
