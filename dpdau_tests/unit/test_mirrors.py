"""The mirrors of operations hold laws: each fails when the main function of its module is emptied."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dpdau_tests.support.neutral import PackageCopy, emptied, modules_to_mirror

CONTROL = "operations.erase.id_lists"
SAMPLE = 20


@pytest.mark.untraced
class TestMirrors:
    def test_a_mirror_notices_an_emptied_module(self, tmp_path: Path) -> None:
        """The control: the mirror of one module passes on a copy of it and fails on the emptied copy."""
        copy = PackageCopy(tmp_path)
        assert copy.run_mirrors(CONTROL).returncode == 0
        assert copy.is_caught(CONTROL)

    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    def test_twenty_random_mirrors_notice_emptied_modules(self, tmp_path: Path) -> None:
        """A law of the mirror fails for each of twenty random modules whose main function is emptied."""
        seed = random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")  # noqa: T201 - shown by pytest if the test fails
        chosen = random.Random(seed).sample(modules_to_mirror(), SAMPLE)
        copy = PackageCopy(tmp_path)
        passes = copy.run_mirrors(*chosen)
        assert passes.returncode == 0, passes.stdout
        assert [module for module in chosen if not copy.is_caught(module)] == []


class TestEmptied:
    @pytest.mark.parametrize(
        ("annotation", "body"),
        [
            ("None", "return None"),
            ("int", "return 0"),
            ("list[str]", "return []"),
            ("Mapping[str, int]", "return {}"),
            ("set[date]", "return set()"),
            ("Restored", "return None"),
        ],
    )
    def test_a_function_returns_the_neutral_value_of_its_annotation(self, annotation: str, body: str) -> None:
        """The docstring and everything around the function stay; its statements become one."""
        source = f'LIMIT = 3\n\ndef work(x) -> {annotation}:\n    """A."""\n    y = x\n    return y\n\nEND = 1\n'
        expected = f'LIMIT = 3\n\ndef work(x) -> {annotation}:\n    """A."""\n    {body}\n\nEND = 1\n'
        assert emptied(source, "operations.room.work") == expected

    def test_a_module_that_does_nothing_cannot_be_emptied(self) -> None:
        """Constants, private functions and functions of a docstring alone leave nothing to empty."""
        source = 'LIMIT = 3\n\ndef _hidden():\n    return 1\n\ndef nothing() -> None:\n    """Nothing."""\n'
        with pytest.raises(LookupError):
            emptied(source, "operations.room.work")
