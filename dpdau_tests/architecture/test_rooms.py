"""The rooms of the house and the directions between them, each with its reason as the failing message.

A room is a folder of the package down to two levels (`operations.release`); files directly in `core`, `storage` or
`engines` belong to that folder's own room. Imports inside functions count as much as those at the top of a file, unless
said otherwise; only imports for type checkers are left out.
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from importlib import import_module

import pytest

from dpdau_tests import REPOSITORY
from dpdau_tests.architecture.source_tree import module_names, modules

DEEP = ("core", "storage", "engines", "operations")
FLOORS = (
    {"session"},
    {"erase", "budget"},
    {"ingest", "pipeline", "verify", "exports"},
    {"release", "monitor", "recover"},
    {"lifecycle"},
)
"""The floors of operations, lowest first. A room imports its own floor and those below it."""

SESSION_AND_DOWN = {"core", "storage", "engines", "settings", "errors"}
LONGEST_CHAIN = 20
"""In modules, imports inside functions left out."""


def room_of(module: str) -> str:
    """`operations.release`, `core`, `settings`, ..."""
    parts = module.split(".")[1:]
    if len(parts) > 2 and parts[0] in DEEP:
        return ".".join(parts[:2])
    return parts[0] if parts else "package"


@cache
def imports() -> dict[str, set[str]]:
    """Every module with all modules of this package that it imports, those inside functions included."""
    known = module_names()
    return {
        module.name: {found.module for found in module.imports() if found.module in known} - {module.name}
        for module in modules()
    }


@cache
def edges() -> frozenset[tuple[str, str, str, str]]:
    """(room, module, imported room, imported module) wherever an import leaves its room."""
    return frozenset(
        (room_of(name), name, room_of(other), other)
        for name, others in imports().items()
        for other in others
        if room_of(name) != room_of(other)
    )


def forbidden(importer: str, imported: tuple[str, ...]) -> list[str]:
    """Imports out of the room `importer` into a room, or a module, that begins with one of `imported`."""
    return sorted(
        f"{name} -> {other}"
        for room, name, other_room, other in edges()
        if (room == importer or room.startswith(importer + "."))
        and any(
            other_room == each or other_room.startswith(each + ".") or other == f"dpdau_assets.{each}"
            for each in imported
        )
    )


class TestDirections:
    def test_budget_knows_no_data(self) -> None:
        """operations.budget imports nothing that reads activity, erasures or partitions."""
        found = forbidden(
            "operations.budget",
            (
                "operations.pipeline",
                "operations.ingest",
                "operations.erase",
                "storage.ledger.batches",
                "storage.ledger.partitions",
                "storage.ledger.erasures",
            ),
        )
        assert found == [], "a refusal cannot depend on data, so what decides refusals must not be able to read any"

    def test_operations_have_floors(self) -> None:
        """A room of operations imports its own floor and the floors below, never one above."""
        floor = {f"operations.{room}": level for level, rooms in enumerate(FLOORS) for room in rooms}
        found = [
            f"{name} -> {other}"
            for room, name, other_room, other in edges()
            if room in floor and other_room.startswith("operations") and floor.get(other_room, 99) > floor[room]
        ]
        assert found == [], "the floors keep what is composed apart from what it is composed of"

    def test_release_neither_verifies_nor_recovers(self) -> None:
        """operations.release never imports verify, recover or exports."""
        found = forbidden("operations.release", ("operations.verify", "operations.recover", "operations.exports"))
        assert found == [], "a release is decided by budget and pipeline alone"

    @pytest.mark.parametrize("room", ["storage", "engines", "operations", "orchestration", "service", "cli"])
    def test_the_long_horizon_stands_apart(self, room: str) -> None:
        """Only evaluation imports core.horizon and evaluation.horizon, lazily or not."""
        found = forbidden(room, ("core.horizon",))
        found += [each for each in forbidden(room, ("evaluation",)) if "-> dpdau_assets.evaluation.horizon" in each]
        assert found == [], "its bound needs limits that releases do not enforce: no release may reach it"

    def test_verify_changes_nothing(self) -> None:
        """operations.verify never imports what writes: pipeline, ingest, recover or release."""
        rooms = ("pipeline", "ingest", "recover", "release", "lifecycle")
        found = forbidden("operations.verify", tuple(f"operations.{room}" for room in rooms))
        assert found == [], "a check that could repair or build what it checks would prove nothing"

    def test_ingest_and_pipeline_do_not_know_each_other(self) -> None:
        """The two meet in the lake and the ledger only."""
        found = forbidden("operations.ingest", ("operations.pipeline",))
        found += forbidden("operations.pipeline", ("operations.ingest",))
        assert found == [], "staging must work while the pipeline is broken, and the other way round"

    @pytest.mark.parametrize(
        ("room", "above"),
        [
            ("disk", ("ledger", "lake", "scan", "journal", "keys", "backups")),
            ("ledger", ("lake", "scan", "journal", "keys", "backups")),
            ("lake", ("ledger", "scan", "journal", "keys", "backups")),
            ("scan", ("ledger", "lake", "journal", "keys", "backups")),
            ("journal", ("keys", "backups")),
            ("keys", ("journal", "backups")),
        ],
    )
    def test_storage_has_an_order(self, room: str, above: tuple[str, ...]) -> None:
        """disk <- ledger, lake, scan <- journal, keys <- backups."""
        found = forbidden(f"storage.{room}", tuple(f"storage.{each}" for each in above))
        assert found == [], "each part of storage can be read, tested and replaced without those above it"

    @pytest.mark.parametrize(
        ("room", "above"),
        [
            ("probability", ("accounting", "mechanisms", "sketches", "release", "horizon")),
            ("sketches", ("accounting", "mechanisms", "release", "horizon")),
            ("accounting", ("mechanisms", "release", "horizon")),
            ("mechanisms", ("release", "horizon")),
            ("release", ("horizon",)),
            ("horizon", ("release",)),
        ],
    )
    def test_core_has_an_order(self, room: str, above: tuple[str, ...]) -> None:
        """probability and dp_events <- accounting <- mechanisms <- release and horizon."""
        found = forbidden(f"core.{room}", tuple(f"core.{each}" for each in above))
        assert found == [], "each proof rests on what stands below it"

    def test_the_service_asks_operations_alone(self) -> None:
        """The service never imports storage, engines, nor operations that recover, verify or change salts."""
        rooms = ("pipeline", "verify", "recover", "lifecycle")
        found = forbidden("service", ("storage", "engines", *(f"operations.{room}" for room in rooms)))
        assert found == [], "what the network can reach is what operations offer, and none of what repairs or destroys"

    @pytest.mark.parametrize("room", ["orchestration", "cli", "evaluation", "service"])
    def test_the_edges_do_not_know_each_other(self, room: str) -> None:
        """Dagster, service, command line and evaluation never import each other at their load."""
        found = [
            f"{module.name} -> {found.module}"
            for module in modules()
            if room_of(module.name) == room
            for found in module.imports()
            if not found.is_lazy
            and found.module in module_names()
            and room_of(found.module) in {"orchestration", "cli", "evaluation", "service"} - {room}
        ]
        assert found == [], "each way to reach the system works without the others"

    @pytest.mark.parametrize("room", ["orchestration", "cli", "evaluation", "service"])
    def test_definitions_stand_on_top(self, room: str) -> None:
        """Nothing imports the module that Dagster loads."""
        assert forbidden(room, ("definitions",)) == [], "what Dagster loads is the last thing to be put together"

    @pytest.mark.parametrize("room", ["orchestration", "cli", "service"])
    def test_the_edges_use_storage_for_types_only(self, room: str) -> None:
        """What Dagster, service and command line take out of storage are classes and names of types."""
        found = [
            f"{module.name} -> {node.module}.{alias.name}"
            for module in modules()
            if room_of(module.name) == room
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dpdau_assets.storage")
            for alias in node.names
            if not isinstance(getattr(import_module(node.module or ""), alias.name), type)
        ]
        assert found == [], "each way to reach the system asks an operation, which holds the locks and the rules"


class TestShape:
    def test_a_folder_is_read_at_a_glance(self) -> None:
        """At most 14 modules in a folder of the package, and 12 in one of operations, packages not counted."""
        files = Counter(module.path.parent for module in modules() if module.path.name != "__init__.py")
        crowded = {
            str(folder.relative_to(REPOSITORY)): count
            for folder, count in files.items()
            if count > (12 if "operations" in folder.parts else 14)
        }
        assert crowded == {}, "a folder with more files is two rooms"

    def test_modules_do_not_import_in_circles(self) -> None:
        """No module reaches itself, and no chain of imports is longer than the limit."""
        graph = {
            module.name: {
                found.module
                for found in module.imports()
                if not found.is_lazy and found.module in module_names() and found.module != module.name
            }
            for module in modules()
        }
        chain = longest_chain(graph)
        assert len(chain) <= LONGEST_CHAIN, f"a change at the bottom is felt {len(chain)} modules up: {chain}"

    def test_the_tests_see_imports(self) -> None:
        """The edges above are not empty: one known import of each kind is found."""
        rooms = Counter(room for room, _, _, _ in edges())
        assert rooms["operations.release"] > 10
        assert any(room == "operations.release" and other == "operations.budget" for room, _, other, _ in edges())


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest path of imports; fails on a circle."""
    under_way: set[str] = set()

    @cache
    def path(node: str) -> tuple[str, ...]:
        assert node not in under_way, f"imports go in a circle through {node}"
        under_way.add(node)
        longest = max((path(following) for following in sorted(graph.get(node, ()))), key=len, default=())
        under_way.remove(node)
        return (node, *longest)

    return list(max((path(node) for node in sorted(graph)), key=len))
