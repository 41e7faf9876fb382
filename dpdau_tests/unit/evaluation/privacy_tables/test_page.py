"""docs/privacy.md says what is computed: its tables, its simulations, its figures, and the tests that it names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dpdau_assets.evaluation.audit.sources import HalfScaleNoise, exact_noise
from dpdau_assets.evaluation.privacy_tables.__main__ import main
from dpdau_assets.evaluation.privacy_tables.document import cells_of, differences, far, named, written
from dpdau_assets.evaluation.privacy_tables.page import EXACT, LONG, PAGE, simulated, tables_of
from dpdau_assets.evaluation.privacy_tables.simulation import Simulation
from dpdau_tests import REPOSITORY

TEXT = (REPOSITORY / PAGE).read_text(encoding="utf-8")
NAMED_TESTS = r"`([a-z0-9_/]+/test_[a-z0-9_]+\.py)`: ((?:`test_[a-z0-9_]+`(?:, )?)+)"
NO_MONTHS = Simulation(0)
SIMULATED = set(simulated(NO_MONTHS))
SMALL = """\
<!-- table: noise -->
<!-- end of table -->
<!-- table: simulated-errors -->
<!-- end of table -->
"""


class TestTables:
    @pytest.mark.parametrize("name", sorted(set(EXACT) - LONG))
    def test_an_exact_table_is_as_computed(self, name: str) -> None:
        """The table stands in the page digit by digit as it is computed now."""
        assert differences(TEXT, tables_of([name], NO_MONTHS)) == []

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("name", sorted(LONG))
    def test_a_long_table_is_as_computed(self, name: str) -> None:
        """The same for tables that compose a year."""
        assert differences(TEXT, tables_of([name], NO_MONTHS)) == []

    def test_every_marker_is_filled(self) -> None:
        """The page has the tables that are computed, no other, and none is empty."""
        stated = named(TEXT)
        assert set(stated) == set(EXACT) | SIMULATED
        assert all(len(cells_of(text)) >= 2 for text in stated.values())


class TestSimulation:
    @pytest.mark.parametrize("name", sorted(SIMULATED))
    def test_stated_figures_are_near_their_theory(self, name: str) -> None:
        """Every simulated figure of the page lies within 4.5 of its standard errors of the theory beside it."""
        rows = cells_of(named(TEXT)[name])
        assert [row for row in rows if far(row[-3:])] == []

    def test_a_few_months_have_the_stated_theory_and_half_the_noise_has_not(self) -> None:
        """Sixty seeded months stand beside the theory of the page, and noise of half the scale is seen in them."""
        name = "simulated-errors"
        few = tables_of([name], Simulation(60, exact_noise(7)))
        assert differences(TEXT, few) == []
        assert differences(written(TEXT, few), few) == []
        wrong = tables_of([name], Simulation(60, HalfScaleNoise(exact_noise(7))))
        assert any(far(row[-3:]) for row in wrong[name].rows)

    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_a_new_simulation_agrees(self) -> None:
        """2,000 months drawn by the sampler of releases have the stated theory, labels and standard errors."""
        again = tables_of(SIMULATED, Simulation())
        assert differences(TEXT, again) == []
        assert differences(written(TEXT, again), again) == []
        for name, table in again.items():
            stated = np.array([float(row[-1].rstrip(" %")) for row in cells_of(named(TEXT)[name])])
            found = np.array([float(row[-1].rstrip(" %")) for row in table.rows])
            assert stated == pytest.approx(found, rel=0.5, abs=0.002)


class TestCommand:
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_writes_a_page_that_it_finds_right_and_finds_a_wrong_one(self, tmp_path: Path) -> None:
        """One command writes every table and figure; the check passes on its page and fails on a changed digit."""
        pytest.importorskip("matplotlib")
        page = tmp_path / "privacy.md"
        page.write_text(SMALL, encoding="utf-8")
        assert main(["--page", str(page), "--months", "200"]) == 0
        drawn = {file.name for file in (tmp_path / "images").iterdir()}
        assert drawn == set(re.findall(r"images/([a-z-]+\.svg)", TEXT))
        assert main(["--check", "--page", str(page), "--months", "200"]) == 0
        page.write_text(page.read_text("utf-8").replace("| 5.21 |", "| 5.22 |", 1), "utf-8")
        assert main(["--check", "--page", str(page), "--months", "200"]) == 1

    def test_an_unknown_table_is_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A marker that nothing computes is refused by name, and nothing is written."""
        page = tmp_path / "privacy.md"
        page.write_text(SMALL.replace("noise", "nonsense"), encoding="utf-8")
        assert main(["--page", str(page)]) == 1
        assert "nothing computes a table called nonsense" in capsys.readouterr().err
        assert page.read_text("utf-8") == SMALL.replace("noise", "nonsense")


class TestWords:
    def test_every_figure_exists(self) -> None:
        """Each image of the page is in the repository."""
        images = re.findall(r"\]\((images/[^)]+)\)", TEXT)
        assert len(images) >= 4
        assert all((REPOSITORY / "docs" / image).is_file() for image in images)

    def test_every_named_test_exists(self) -> None:
        """Each test that section 11 names stands in the file that it names."""
        named_tests = 0
        section = TEXT.split("## 11.")[1]
        for row in cells_of("".join(line for line in section.splitlines(keepends=True) if line.startswith("|"))):
            for file, tests in re.findall(NAMED_TESTS, row[-1]):
                for test in re.findall(r"`(test_[a-z0-9_]+)`", tests):
                    assert f"def {test}(" in (REPOSITORY / "dpdau_tests" / file).read_text(encoding="utf-8"), test
                    named_tests += 1
        assert named_tests >= 25
