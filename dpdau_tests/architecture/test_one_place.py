"""Facts that several readers need are said in one module: the others do not say them again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dpdau_tests.architecture.source_tree import Module, modules

LAYOUT = next(module for module in modules() if module.name == "dpdau_assets.storage.lake.layout")


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


def _texts(module: Module) -> Iterator[tuple[str, bool]]:
    """Every text of a module that is no docstring, and whether it is joined to a path by `/`."""
    told = {id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr)}
    joined = {
        id(side)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        for side in (node.left, node.right)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value, id(node) in joined


class TestLayout:
    def test_names_below_the_data_folder_are_said_in_one_module(self) -> None:
        """No other module joins one of them to a path, or writes how folders of days and their files are called."""
        names = {text for text, _ in _texts(LAYOUT) if "/" not in text and text.strip(".")} - {"/"}
        assert {"inbox", "lake", ".lock", "dpdau.duckdb", "day=", "salts.json", ".journal-end"} <= names
        again = {
            f"{module.name}: {text}"
            for module in modules()
            if module is not LAYOUT and not module.name.startswith("dpdau_assets.evaluation")
            for text, is_joined in _texts(module)
            if (is_joined and text in names) or text.startswith(("day=", "lake/", "staging/", "published/"))
        }
        assert again == set()


class TestSchemas:
    def test_columns_of_files_are_said_in_one_module(self) -> None:
        """Storage and operations make no schema of their own; the engines' describe rows that are never stored."""
        found = {
            module.name
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr in ("schema", "field")
            if isinstance(node.value, ast.Name) and node.value.id == "pa"
            if module.name.split(".")[1] in ("storage", "operations")
        }
        assert found == {"dpdau_assets.storage.lake.tables"}


class TestBudget:
    def test_one_module_decides_the_sampling_threshold(self) -> None:
        """Releases, plans and charges of lost values ask it; none of them chooses a threshold of its own."""
        found = _importers({"next_threshold", "threshold_for"}, "dpdau_assets.core.release.release")
        assert _of_operations(found) == {"dpdau_assets.operations.budget.sampling_threshold"}

    def test_one_module_asks_the_caps(self) -> None:
        """Only verification asks again, because it checks what was decided."""
        found = _importers({"fits"}, "dpdau_assets.core.accounting.snapshot")
        assert _of_operations(found) == {"dpdau_assets.operations.budget.caps", "dpdau_assets.operations.verify.ledger"}

    def test_one_module_opens_accounts(self) -> None:
        """What an account freezes at its opening is put together in one place."""
        found = {
            module.name
            for module in modules()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr == "open_account"
        }
        assert _of_operations(found) == {"dpdau_assets.operations.budget.caps"}


def _of_operations(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("dpdau_assets.operations.")}
