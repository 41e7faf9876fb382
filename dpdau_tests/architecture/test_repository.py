"""The repository as a whole: what stands at the top, how large things are, what the settings pages say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from pathlib import Path

import pytest

from dpdau_assets.settings.settings import RESERVED, Settings, shown
from dpdau_tests.architecture.source_tree import REPOSITORY, Module, modules

TOP_LEVEL = {
    "dpdau_assets",
    "dpdau_tests",
    "data",
    "docs",
    "docker",
    "workspace.yaml",
    "pyproject.toml",
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "constraints.txt",
    ".ci",
    ".env.example",
    ".gitignore",
    ".gitattributes",
    ".pre-commit-config.yaml",
}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 80
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def tracked_files() -> list[Path]:
    """The files under version control."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout: which files are tracked is unknown")
    return [Path(os.fsdecode(name)) for name in listing.stdout.split(b"\0") if name]


class TestTopLevel:
    def test_only_the_named_entries_stand_at_the_top(self) -> None:
        """The top of the repository holds what the product page names and nothing else."""
        assert {path.parts[0] for path in tracked_files()} <= TOP_LEVEL

    def test_the_data_folder_is_tracked_as_its_readme_only(self) -> None:
        """No data ever enters version control."""
        assert [str(path) for path in tracked_files() if path.parts[0] == "data"] == ["data/README.md"]

    def test_no_placeholder_is_left(self) -> None:
        """No tracked text still has a name in double braces to be filled in."""
        pattern = re.compile(rb"\{\{[A-Z][A-Z0-9_]*\}\}")
        assert [
            str(path)
            for path in tracked_files()
            if (REPOSITORY / path).is_file() and pattern.search((REPOSITORY / path).read_bytes())
        ] == []

    def test_constraints_pin_versions_and_nothing_else(self) -> None:
        """Every line of constraints.txt is name==version: no address, no path, not this package."""
        lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9.+!]+", line)] == []
        assert not any(line.lower().startswith("dpdau") for line in lines)


class TestSizes:
    @pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
    def test_files_and_functions_stay_readable(self, module: Module) -> None:
        """No file exceeds 400 lines, no function 80, and every module with code says what belongs in it."""
        assert len(module.path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
        long = [
            node.name
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES
        ]
        assert long == []
        assert ast.get_docstring(module.tree) or not module.tree.body
        assert module.name.split(".")[-1] not in VAGUE_NAMES


class TestSettingsPages:
    def test_the_example_holds_every_setting_with_its_default(self) -> None:
        """.env.example names each setting once, with the default of the code, and no other name."""
        text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
        written = re.findall(r"^#([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
        defaults = {name.upper(): shown(field.default) for name, field in Settings.model_fields.items()}
        assert len(written) == len(dict(written))
        assert dict(written) == defaults

    def test_the_example_keeps_reserved_names_apart(self) -> None:
        """Names that change nothing in this version stand under the heading that says so."""
        used, reserved = (REPOSITORY / ".env.example").read_text(encoding="utf-8").split("# --- Reserved", 1)
        assert {name.lower() for name in re.findall(r"^#([A-Z0-9_]+)=", reserved, re.MULTILINE)} == RESERVED
        assert not {name.lower() for name in re.findall(r"^#([A-Z0-9_]+)=", used, re.MULTILINE)} & RESERVED

    def test_a_copy_of_the_example_changes_nothing(self) -> None:
        """Copying .env.example to .env leaves every default in force: each line is a comment or empty."""
        lines = (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()
        assert all(line.startswith("#") or not line for line in lines)

    def test_the_pages_name_real_settings(self) -> None:
        """Whatever README and docs write as NAME=value or `NAME` in capitals with underscores is a setting."""
        known = {name.upper() for name in Settings.model_fields} | {"DAGSTER_HOME"}
        pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
        named = {
            name
            for page in pages
            if page.is_file()
            for name in re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page.read_text(encoding="utf-8"))
        }
        assert named <= known
