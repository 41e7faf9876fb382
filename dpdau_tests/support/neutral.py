"""Empties the main function of a module and asks its mirror, the test file of its name, whether it notices.

The main function of a module of operations is its first public function, else the first public method of its first
class that has one; `MAIN_FUNCTIONS` names the exceptions. Emptied, it returns the neutral value of its annotation at
once: None, 0, False, an empty text or an empty collection. By hand, for any number of modules:

    python -m dpdau_tests.support.neutral operations.ingest.stage operations.pipeline.raw_events
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dpdau_tests import REPOSITORY

PACKAGE = "dpdau_assets"
MAIN_FUNCTIONS = {
    "operations.budget.caps": "BudgetBook.refusal",
    "operations.budget.lost_releases": "assume_released",
    "operations.budget.terms": "make_terms",
    "operations.ingest.report": "report_of",
    "operations.pipeline.count_differences": "left_per_window",
    "operations.recover.restore_source": "RestoreSource.choose",
    "operations.release.draw_release": "Draw.single",
    "operations.session.erased_keys": "ErasedKeys.without",
    "operations.session.workspace": "Workspace.series_floor",
    "operations.verify.findings": "Report.finish",
}
"""Modules whose first public function is not what they are for."""

NEUTRAL_VALUES = {
    "bool": "False",
    "int": "0",
    "float": "0.0",
    "str": "''",
    "bytes": "b''",
    "list": "[]",
    "Sequence": "()",
    "tuple": "()",
    "dict": "{}",
    "Mapping": "{}",
    "set": "set()",
    "frozenset": "frozenset()",
    "Iterator": "iter(())",
    "Iterable": "()",
}
"""What a function of this annotation returns when emptied; None for every other."""

PATIENCE_SECONDS = 120
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules_to_mirror() -> list[str]:
    """The modules of operations whose main function does something, as `operations.ingest.stage`, sorted."""
    paths = (REPOSITORY / PACKAGE / "operations").rglob("*.py")
    names = [".".join(path.relative_to(REPOSITORY / PACKAGE).with_suffix("").parts) for path in paths]
    return sorted(name for name in names if not name.endswith("__init__") and _can_be_emptied(name))


def mirror_of(module: str) -> Path:
    """The test file that mirrors `module`, relative to the checkout; it need not exist."""
    *rooms, name = module.split(".")
    return Path("dpdau_tests", "unit", *rooms, f"test_{name}.py")


def main_function(tree: ast.Module, module: str) -> Function | None:
    """The main function of `module`; None if it has no public function at all."""
    functions = dict(_public_functions(tree))
    if module in MAIN_FUNCTIONS:
        return functions[MAIN_FUNCTIONS[module]]
    plain = [function for name, function in functions.items() if "." not in name]
    return next(iter([*plain, *functions.values()]), None)


def emptied(source: str, module: str) -> str:
    """The source of `module` with its main function emptied; its docstring stays.

    Raises:
        LookupError: The module has no public function that does anything.
    """
    function = main_function(ast.parse(source), module)
    body = function.body[ast.get_docstring(function) is not None :] if function else []
    if function is None or not body:
        raise LookupError(f"{module} has no function that does anything")
    lines = source.splitlines()
    lines[body[0].lineno - 1 : body[-1].end_lineno] = [" " * body[0].col_offset + _neutral_statement(function)]
    return "\n".join(lines) + "\n"


class PackageCopy:
    """The package and its tests in a folder of their own, where modules may be emptied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (PACKAGE, "dpdau_tests"):
            shutil.copytree(REPOSITORY / name, folder / name)
        shutil.copy2(REPOSITORY / "pyproject.toml", folder)

    def empty(self, module: str) -> None:
        """Empty the main function of `module`."""
        path = self._path(module)
        path.write_text(emptied(path.read_text(encoding="utf-8"), module), encoding="utf-8")

    def restore(self, module: str) -> None:
        """Undo `empty`."""
        path = self._path(module)
        shutil.copy2(REPOSITORY / path.relative_to(self.folder), path)

    def run_mirrors(self, *modules: str) -> subprocess.CompletedProcess[str]:
        """Run the fast tests of the mirrors on this copy; the return code is pytest's: 0 passed, 1 failed."""
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
            + [str(mirror_of(module)) for module in modules],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "PYTEST_ADDOPTS": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS * len(modules),
        )

    def is_caught(self, module: str) -> bool:
        """Whether a test of the mirror fails while the module is emptied; a file that cannot be loaded is no test."""
        self.empty(module)
        try:
            return self.run_mirrors(module).returncode == 1
        finally:
            self.restore(module)

    def _path(self, module: str) -> Path:
        return self.folder.joinpath(PACKAGE, *module.split(".")).with_suffix(".py")


def _can_be_emptied(module: str) -> bool:
    source = (REPOSITORY / PACKAGE).joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    try:
        return emptied(source, module) != source
    except LookupError:
        return False


def _public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, Function) and not method.name.startswith("_"):
                    yield f"{node.name}.{method.name}", method


def _neutral_statement(function: Function) -> str:
    if any(ast.unparse(decorator).endswith("contextmanager") for decorator in function.decorator_list):
        return "yield None"
    annotation = function.returns
    kind = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    return f"return {NEUTRAL_VALUES.get(ast.unparse(kind) if kind else 'None', 'None')}"


def main(modules: list[str]) -> int:
    """Print for each module whether its mirror notices; 1 if one does not."""
    if not modules:
        sys.stderr.write("usage: python -m dpdau_tests.support.neutral operations.ROOM.MODULE ...\n")
        return 2
    missed = 0
    with tempfile.TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")) as folder:
        copy = PackageCopy(Path(folder))
        for module in modules:
            passes = copy.run_mirrors(module)
            verdict = "caught" if copy.is_caught(module) else "NOT CAUGHT: the mirror passes on the emptied module"
            if passes.returncode != 0:
                verdict = f"the mirror does not pass on the module as it is:\n{passes.stdout}{passes.stderr}"
            missed += verdict != "caught"
            sys.stdout.write(f"{module}: {verdict}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
