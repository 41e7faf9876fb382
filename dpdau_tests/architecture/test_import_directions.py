"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest

from dpdau_tests.architecture.source_tree import REPOSITORY, Module, module_names, modules, room_of

ALLOWED: dict[str, set[str]] = {
    "package": set(),
    "errors": set(),
    "settings": {"errors"},
    "core": {"errors"},
    "storage": {"errors", "core"},
    "engines": {"errors", "core"},
    "operations": {"errors", "core", "storage", "engines", "settings"},
    "orchestration": {"errors", "core", "storage", "engines", "settings", "operations"},
    "service": {"errors", "core", "settings", "operations"},
    "cli": {"errors", "core", "storage", "engines", "settings", "operations"},
    "evaluation": {"errors", "core", "storage", "engines", "settings", "operations"},
    "definitions": {"settings", "orchestration"},
}
"""The table of directions; `package` is the version and the map, which anyone may read."""

ALLOWED_INSIDE_FUNCTIONS = {"cli": {"orchestration", "evaluation", "service"}}
"""The command line may start Dagster or the service and write synthetic data, loading them when it does."""

FOREIGN = {"dagster": {"orchestration"}, "fastapi": {"service"}, "typer": {"cli"}, "rich": {"cli"}}
"""Libraries that belong to one room."""

OPTIONAL = {"datasketches", "matplotlib", "papermill", "ipykernel"}
"""Libraries of the extras, without which everything else works."""

LONGEST_CHAIN = 8


class TestRooms:
    def test_every_room_stands_in_the_table(self) -> None:
        """A new room is a decision: it is written into the table of directions first."""
        assert {module.room for module in modules()} <= set(ALLOWED)

    @pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
    def test_a_module_imports_only_what_its_room_may(self, module: Module) -> None:
        """A module imports its own room and the rooms below it, and nothing else of this package."""
        for imported in module.imports():
            room = room_of(imported.module)
            if room is None or room in (module.room, "package"):
                continue
            allowed = ALLOWED[module.room] | (
                ALLOWED_INSIDE_FUNCTIONS.get(module.room, set()) if imported.is_lazy else set()
            )
            assert room in allowed, f"{module.name} imports {imported.module}: {module.room} may not know {room}"

    def test_no_two_rooms_import_each_other_and_no_chain_is_long(self) -> None:
        """The rooms form a ladder without circles, at most 8 rungs high."""
        rooms = {
            room: {
                other
                for module in modules()
                if module.room == room
                for imported in module.imports()
                if (other := room_of(imported.module)) and other != room and not imported.is_lazy
            }
            for room in ALLOWED
        }
        assert _longest_chain(rooms) <= LONGEST_CHAIN

    @pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
    def test_a_library_stays_in_its_room(self, module: Module) -> None:
        """Only orchestration imports dagster, the command line typer and rich, the service fastapi."""
        for imported in module.imports():
            owners = FOREIGN.get(imported.module.split(".")[0])
            assert owners is None or module.room in owners, f"{module.name} imports {imported.module}"

    def test_optional_libraries_are_loaded_when_used(self) -> None:
        """What an extra installs is imported inside functions alone, so that everything loads without it."""
        found = {
            (module.name, imported.is_lazy)
            for module in modules()
            for imported in module.imports()
            if imported.module.split(".")[0] in OPTIONAL
        }
        assert ("dpdau_assets.evaluation.accuracy.plots", True) in found
        assert [name for name, is_lazy in found if not is_lazy] == []


class TestEnvironment:
    @pytest.mark.parametrize(
        "module",
        [module for module in modules() if module.name != "dpdau_assets.settings.settings"],
        ids=lambda module: module.name,
    )
    def test_only_settings_reads_the_environment(self, module: Module) -> None:
        """No module but settings/settings.py touches os.environ, os.getenv or a .env file."""
        names = {node.attr for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
        imported = {item.module.split(".")[0] for item in module.imports()}
        assert not names & {"environ", "getenv", "environb", "putenv", "dotenv_values", "load_dotenv"}
        assert "dotenv" not in imported


class TestPurity:
    def test_core_loads_without_the_heavy_libraries(self) -> None:
        """Importing every module of core leaves dagster, fastapi, duckdb, pyarrow, pandas and sqlalchemy out."""
        names = sorted(name for name in module_names() if name.startswith("dpdau_assets.core"))
        program = (
            "import importlib, sys\n"
            f"for name in {names!r}: importlib.import_module(name)\n"
            "print(sorted({'dagster','fastapi','duckdb','pyarrow','pandas','sqlalchemy'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr

    @pytest.mark.parametrize(
        "module", [module for module in modules() if module.room == "core"], ids=lambda module: module.name
    )
    def test_core_has_no_clock_and_no_files(self, module: Module) -> None:
        """Core never asks for the time, opens a file, or uses global randomness."""
        calls = {ast.unparse(node.func) for node in ast.walk(module.tree) if isinstance(node, ast.Call)}
        forbidden = {
            "open",
            "datetime.now",
            "date.today",
            "time.time",
            "time.monotonic",
            "np.random.default_rng",
            "input",
        }
        assert not calls & forbidden


def _longest_chain(graph: dict[str, set[str]]) -> int:
    """Number of nodes on the longest path; fails on a circle."""
    under_way: set[str] = set()

    @cache
    def length(node: str) -> int:
        assert node not in under_way, f"imports go in a circle through {node}"
        under_way.add(node)
        longest = 1 + max((length(following) for following in graph.get(node, ())), default=0)
        under_way.remove(node)
        return longest

    return max(length(node) for node in graph)
