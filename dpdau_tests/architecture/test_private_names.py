"""Private names stay private: a name that begins with an underscore is used in its own module alone.

No test imports, calls, names or replaces one of the package, so that the package may be rewritten inside while its
laws stand; and the package replaces no attribute of another module while it runs. A name in a string counts as well:
that is how names are replaced, and how code is handed to another process.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from dpdau_tests import REPOSITORY
from dpdau_tests.architecture.source_tree import PACKAGE, modules

PRIVATE = re.compile(r"(?<![\w.\-/])(?:[A-Za-z_]\w*\.)*(_[A-Za-z]\w*)(?!\w)")
"""A private name in a text, alone or at the end of a dotted one."""

SETTERS = ("setattr", "delattr", "object.__setattr__")


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore and goes on."""
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


def defined_names(tree: ast.AST) -> set[str]:
    """The private names that a file defines: functions, classes, variables, attributes of its objects."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return {name for name in found if is_private(name)}


@cache
def names_of_package() -> frozenset[str]:
    """Every private name that the package defines."""
    return frozenset(name for module in modules() for name in defined_names(module.tree))


def imported_private_names(tree: ast.AST) -> Iterator[str]:
    """Private names that a file imports from the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == PACKAGE):
            yield from (f"line {node.lineno}: imports {alias.name}" for alias in node.names if is_private(alias.name))


def used_private_names(tree: ast.AST, package: frozenset[str]) -> Iterator[str]:
    """Private names of the package that a file outside of it imports, uses on another object, or writes in a text."""
    yield from imported_private_names(tree)
    names = package - defined_names(tree)
    passed_over = {id(text) for text in (*_documentation(tree), *_ends_of_names(tree))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and not _is_own(node.value):
            yield f"line {node.lineno}: uses {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in passed_over:
            yield from (f"line {node.lineno}: names {name}" for name in PRIVATE.findall(node.value) if name in names)


def replaced_attributes(tree: ast.AST) -> Iterator[str]:
    """Places at which a file sets or deletes an attribute of something that it imported, or of what it cannot name."""
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            if _root(node.value) in imported:
                yield f"line {node.lineno}: sets {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in SETTERS and not _is_own(node.args[0]):
            yield f"line {node.lineno}: {ast.unparse(node)}"


def _is_own(node: ast.expr) -> bool:
    """Whether an expression is the object or class that the code belongs to."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _documentation(tree: ast.AST) -> Iterator[ast.AST]:
    """Texts that stand alone as a statement."""
    return (
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _ends_of_names(tree: ast.AST) -> Iterator[ast.AST]:
    """Parts of a formatted text that follow a value: `_release` of `f"{metric}_release"`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from (part for before, part in pairwise(node.values) if isinstance(before, ast.FormattedValue))


def _test_files() -> list[Path]:
    return [path for path in sorted((REPOSITORY / "dpdau_tests").rglob("*.py")) if path != Path(__file__)]


class TestPrivateNames:
    def test_no_test_uses_one(self) -> None:
        """No test or support module imports, calls, names or replaces an underscore name of the package."""
        found = [
            f"{path.relative_to(REPOSITORY)}, {use}"
            for path in _test_files()
            for use in used_private_names(ast.parse(path.read_text(encoding="utf-8")), names_of_package())
        ]
        assert found == [], "a test holds on to the inside of a module: test what the module offers, or make it public"

    def test_no_module_imports_one(self) -> None:
        """No module of the package imports an underscore name of another one."""
        found = [f"{module.name}, {use}" for module in modules() for use in imported_private_names(module.tree)]
        assert found == [], "what two modules need is public"

    def test_no_module_replaces_anything(self) -> None:
        """The package sets no attribute of another module or of a class of another module while it runs."""
        found = [f"{module.name}, {use}" for module in modules() for use in replaced_attributes(module.tree)]
        assert found == [], "hand in what should act differently, as an argument or to the workspace"


NAMES = frozenset({"_fold_day", "_fill"})


class TestPlanted:
    """The rules see what they are there to see."""

    @pytest.mark.parametrize(
        "source",
        [
            "from dpdau_assets.operations.pipeline.raw_events import _fold_day",
            "monkeypatch.setattr(raw_events, '_fold_day', None)",
            "monkeypatch.setattr('dpdau_assets.operations.pipeline.raw_events._fold_day', None)",
            "raw_events._fold_day()",
            "patch.object(raw_events, '_fold_day')",
            "Place('dpdau_assets.operations.recover.restore', '_Work._fill')",
            "run('from dpdau_assets.operations.pipeline.raw_events import _fold_day')",
        ],
    )
    def test_a_test_that_uses_one(self, source: str) -> None:
        assert list(used_private_names(ast.parse(source), NAMES))

    @pytest.mark.parametrize(
        "source", ["os._exit(0)", "self._fold_day()", "super()._fold_day()", "x = 'a_fold_day and _another'"]
    )
    def test_a_test_that_does_not(self, source: str) -> None:
        assert not list(used_private_names(ast.parse(source), NAMES))

    @pytest.mark.parametrize(
        "source",
        [
            "from dpdau_assets.a import b\nb.c = 1",
            "import dpdau_assets.a\ndpdau_assets.a.c = 1",
            "from dpdau_assets.a import Thing\ndel Thing.method",
            "from dpdau_assets.a import b\nb.c.d += 1",
            "setattr(module, name, 1)",
        ],
    )
    def test_a_module_that_replaces(self, source: str) -> None:
        assert list(replaced_attributes(ast.parse(source)))

    @pytest.mark.parametrize(
        "source", ["self.c = 1", "setattr(self, 'c', 1)", "from dpdau_assets.a import b\nb()[1] = 2"]
    )
    def test_a_module_that_does_not(self, source: str) -> None:
        assert not list(replaced_attributes(ast.parse(source)))
