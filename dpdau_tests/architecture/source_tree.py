"""Reads the package as syntax, without importing it: modules, their rooms and their imports."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dpdau_tests import REPOSITORY

PACKAGE = "dpdau_assets"


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported when the importing module is."""

    module: str
    is_lazy: bool


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        """`core`, `cli`, ...; a file at the top of the package is its own room; the package itself is `package`."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "package"

    def imports(self) -> list[Import]:
        """Every import outside `if TYPE_CHECKING`."""
        found: list[Import] = []
        _collect(self.tree, found, is_lazy=False)
        return found


def _collect(node: ast.AST, found: list[Import], *, is_lazy: bool) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            found.extend(Import(alias.name, is_lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                found.append(Import(full if full in module_names() else child.module, is_lazy))
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            _collect(child, found, is_lazy=is_lazy or inside)


def _paths() -> list[Path]:
    return sorted((REPOSITORY / PACKAGE).rglob("*.py"))


def _name_of(path: Path) -> str:
    parts = list(path.relative_to(REPOSITORY).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def module_names() -> frozenset[str]:
    """The dotted names of all modules of the package."""
    return frozenset(_name_of(path) for path in _paths())


@cache
def modules() -> tuple[Module, ...]:
    """All modules of the package, parsed."""
    return tuple(Module(_name_of(path), path, ast.parse(path.read_text(encoding="utf-8"))) for path in _paths())


def room_of(module_name: str) -> str | None:
    """The room of a module of this package, None for a foreign one."""
    parts = module_name.split(".")
    if parts[0] != PACKAGE:
        return None
    return parts[1] if len(parts) > 1 else "package"
