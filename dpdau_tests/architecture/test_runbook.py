"""The runbook names only what exists: every command of it is one of ours, with options that it has."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from dpdau_assets.cli.main import app
from dpdau_assets.settings.settings import Settings
from dpdau_tests import REPOSITORY

RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = sorted({match.strip() for match in re.findall(r"(?:`| {4})(dpdau [a-z][^`#\n]*)", RUNBOOK)})
TARGETS = sorted(set(re.findall(r"`make ([a-z-]+)", RUNBOOK)))
SETTINGS = sorted(set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", RUNBOOK)))

PACKAGE = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "dpdau_assets").rglob("*.py"))
SECTIONS = sorted({name for source in PACKAGE for name in re.findall(r"runbook: ([A-Z][^\"\n]+)\"", source)})


class TestRunbook:
    @pytest.mark.parametrize("line", COMMANDS)
    def test_a_command_exists_with_its_options(self, line: str) -> None:
        """The command is found by name, subcommands included, and each option is one of its own."""
        words = shlex.split(line)[1:]
        found = typer.main.get_command(app)
        while words and not words[0].startswith("-") and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert found.name not in (None, "dpdau"), f"no such command: {line}"
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--json"}, line

    @pytest.mark.parametrize("target", TARGETS)
    def test_a_make_target_exists(self, target: str) -> None:
        """The Makefile has it."""
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)

    @pytest.mark.parametrize("name", SETTINGS)
    def test_a_setting_exists(self, name: str) -> None:
        """A name in capitals is a setting."""
        assert name.lower() in Settings.model_fields

    @pytest.mark.parametrize("section", SECTIONS)
    def test_a_section_that_an_alert_names_exists(self, section: str) -> None:
        """What an operator is sent to read is there under that heading."""
        assert re.search(rf"^#+ {re.escape(section)}$", RUNBOOK, re.MULTILINE)

    def test_something_is_looked_at(self) -> None:
        """The patterns above find what there is."""
        assert len(COMMANDS) > 20 and len(TARGETS) >= 3 and len(SETTINGS) >= 6
        assert len(SECTIONS) >= 6
