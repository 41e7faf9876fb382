"""docs/sketches.md says what the code does: the table of pairs, and the example of Apache's bytes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dpdau_assets.core.sketches.protocol import KEY_SPACE
from dpdau_assets.core.sketches.theta import ThetaSketch
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM
from dpdau_assets.settings.settings import Settings
from dpdau_tests import REPOSITORY

PAGE = (REPOSITORY / "docs" / "sketches.md").read_text(encoding="utf-8")


class TestTable:
    def test_is_the_one_that_is_enforced(self) -> None:
        """Every mechanism and sketch of the settings stands in the table, with what happens to the pair."""
        rows = [
            [cell.strip(" `") for cell in line.strip("|").split("|")]
            for line in PAGE.split("## Supported pairs")[1].split("\n- ")[0].splitlines()
            if line.startswith("|") and "---" not in line
        ]
        head, *body = rows
        shown = {
            row[0]: tuple(name for name, cell in zip(head[1:], row[1:], strict=True) if cell == "yes") for row in body
        }
        assert shown == SKETCHES_OF_MECHANISM
        assert all(cell in ("yes", "no") for row in body for cell in row[1:])
        for field, names in (("mechanism", set(shown)), ("sketch_impl", set(head[1:]))):
            assert set(Settings.model_fields[field].annotation.__args__) == names  # type: ignore[union-attr]


@pytest.mark.requires_theta
class TestExample:
    def test_unites_with_a_sketch_of_another_program(self) -> None:
        """The example runs as it stands and gives the sketch of the union."""
        keys = np.unique(np.random.default_rng(1).integers(0, KEY_SPACE, 4000, dtype=np.uint64))
        threshold = KEY_SPACE // 8
        names = {
            "stored": ThetaSketch.from_keys(keys[:3000], threshold=threshold).to_bytes(),
            "pseudonyms": keys[2000:].tolist(),
        }
        example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
        assert example is not None
        exec(example[1], names)
        assert names["back"] == ThetaSketch.from_keys(keys, threshold=threshold)
