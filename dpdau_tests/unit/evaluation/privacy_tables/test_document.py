"""Laws of evaluation/privacy_tables/document.py."""

from __future__ import annotations

import pytest

from dpdau_assets.errors import DataError
from dpdau_assets.evaluation.privacy_tables.document import Table, differences, far, named, written

EXACT = Table(("a", "b"), (("1", "2"), ("3", "4")))
SIMULATED = Table(("of", "theory", "simulated", "standard error"), (("x", "5.00", "5.05", "0.02"),), is_simulated=True)
PAGE = (
    "before\n<!-- table: one -->\n<!-- end of table -->\nbetween\n"
    "<!-- table: two -->\nold\n<!-- end of table -->\nafter\n"
)


class TestWritten:
    def test_tables_stand_between_their_markers(self) -> None:
        """Only what lies between the markers of a named table is replaced."""
        page = written(PAGE, {"one": EXACT})
        assert named(page) == {"one": "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n", "two": "old\n"}
        assert page.startswith("before\n") and "between\n" in page and page.endswith("after\n")

    def test_writing_again_changes_nothing(self) -> None:
        """The same tables give the same page."""
        page = written(PAGE, {"one": EXACT, "two": SIMULATED})
        assert written(page, {"one": EXACT, "two": SIMULATED}) == page

    def test_a_name_is_given_once(self) -> None:
        """Two tables of one name are refused."""
        with pytest.raises(DataError, match="one name"):
            named(PAGE.replace("two", "one"))


class TestDifferences:
    def test_a_page_as_computed_has_none(self) -> None:
        """A page compared with the tables that were written into it is as computed."""
        tables = {"one": EXACT, "two": SIMULATED}
        assert differences(written(PAGE, tables), tables) == []

    def test_one_digit_is_found(self) -> None:
        """A cell that is not as computed is named with both values."""
        page = written(PAGE, {"one": EXACT}).replace("| 3 | 4 |", "| 3 | 5 |")
        assert differences(page, {"one": EXACT}) == ["one: it says 3 | 5, computed is 3 | 4"]

    def test_a_missing_table_or_row_is_found(self) -> None:
        """A table that the page lacks, and a row too few."""
        assert differences(PAGE, {"three": EXACT}) == ["three: the page has no such table"]
        page = written(PAGE, {"one": EXACT}).replace("| 3 | 4 |\n", "")
        assert differences(page, {"one": EXACT}) == ["one: its head or its number of rows is not as computed"]

    def test_other_simulated_digits_are_no_difference(self) -> None:
        """A simulated figure may differ from a new simulation, not from its theory."""
        page = written(PAGE, {"two": SIMULATED}).replace("5.05", "4.96")
        assert differences(page, {"two": SIMULATED}) == []
        page = page.replace("4.96", "5.12")
        assert differences(page, {"two": SIMULATED}) == ["two: x: 5.12 where theory says 5.00"]

    def test_another_theory_is_a_difference(self) -> None:
        """The theory of a simulated row is compared as text."""
        page = written(PAGE, {"two": SIMULATED}).replace("5.00", "5.01")
        assert differences(page, {"two": SIMULATED}) == ["two: its rows or their theory are not as computed"]


class TestFar:
    @pytest.mark.parametrize(
        ("row", "is_far"),
        [
            (("95.0 %", "97.2 %", "0.50 %"), False),
            (("95.0 %", "97.6 %", "0.50 %"), True),
            (("5.00", "5.01", "0.000"), False),
            (("5.00", "5.02", "0.000"), True),
        ],
    )
    def test_some_standard_errors_and_one_printed_unit(self, row: tuple[str, ...], is_far: bool) -> None:
        """A figure may lie 4.5 standard errors and the rounding of its print from its theory."""
        assert far(row) is is_far
