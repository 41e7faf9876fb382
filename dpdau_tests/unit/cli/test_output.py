"""How the command line speaks."""

from __future__ import annotations

import json
import sys
from datetime import date

import pytest

from dpdau_assets.cli import output
from dpdau_assets.cli.output import (
    ProgressBar,
    emit,
    estimate_with_interval,
    exit_code_of,
    fail,
    number,
    table,
    where_it_broke,
)
from dpdau_assets.errors import DpdauError, InputError


class TestDocuments:
    def test_json_is_one_document_and_nothing_else(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With --json standard output is exactly one JSON document; the text is not even made."""
        emit({"day": date(2026, 1, 1), "name": "Ä"}, as_json=True, text=lambda: pytest.fail("text was made"))
        captured = capsys.readouterr()
        assert json.loads(captured.out) == {"day": "2026-01-01", "name": "Ä"}
        assert captured.err == ""

    def test_text_is_printed_as_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without --json the words are printed."""
        emit({}, as_json=False, text=lambda: "words")
        assert capsys.readouterr().out == "words\n"


class TestErrors:
    def test_an_error_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An error is `dpdau: message; hint` on standard error, in one line whatever the message holds."""
        assert fail(InputError("bad\n  file.", hint="look"), as_json=False) == 3
        assert capsys.readouterr() == ("", "dpdau: bad file; look\n")

    def test_an_error_as_json_has_three_fields(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With --json an error is {"error", "message", "hint"} on standard error."""
        fail(InputError("bad file", hint="look"), as_json=True)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err) == {"error": "bad_input", "message": "bad file", "hint": "look"}

    def test_the_place_of_a_fault_shows_no_value(self) -> None:
        """Where something broke is told by file and line of this package, never by a value."""
        try:
            number(None)  # type: ignore[arg-type]
        except TypeError as fault:
            place = where_it_broke(fault)
        assert place.startswith("output.py:")
        assert where_it_broke(ValueError("secret")) == "outside this package"


class TestExitCodes:
    def test_every_error_of_the_tree_has_the_code_of_its_branch(self) -> None:
        """2 usage, 3 bad input, 4 budget exhausted, 5 not closed or outside the series, 1 anything else."""
        found = {kind.__name__: exit_code_of(kind) for kind in _tree(DpdauError)}
        others = {name for name, code in found.items() if code != 1}
        assert {name: found[name] for name in others} == {
            "CallerError": 2,
            "UsageError": 2,
            "InputError": 3,
            "UnknownSettingError": 3,
            "BudgetExhaustedError": 4,
            "NotReleasableError": 5,
            "NotClosedError": 5,
            "OutsideSeriesError": 5,
        }
        assert {"StorageError", "LedgerDamagedError", "DataError", "InternalError"} <= set(found) - others


def _tree(kind: type[DpdauError]) -> list[type[DpdauError]]:
    """A kind of error of this package with all kinds below it."""
    below = [each for child in kind.__subclasses__() for each in _tree(child)]
    return [each for each in (kind, *below) if each.__module__ == "dpdau_assets.errors"]


class TestTables:
    def test_columns_are_aligned(self) -> None:
        """The first column is aligned left, numbers right."""
        assert table(("day", "n"), [("a", "1"), ("bcde", "1,000")]) == "day       n\na         1\nbcde  1,000"

    def test_numbers_are_readable(self) -> None:
        """Thousands are separated, halves kept, whole numbers shown without decimals."""
        assert [number(value) for value in (1234567, 12.5, 3.0)] == ["1,234,567", "12.5", "3"]

    def test_a_lower_bound_says_so(self) -> None:
        """A saturated value reads `at least`."""
        body = {"estimate": 10.0, "lower_95": 8.0, "upper_95": 12.0, "is_lower_bound": True}
        assert estimate_with_interval(body) == "at least 10 [8, 12]"


class TestProgress:
    def test_nothing_is_shown_off_a_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a terminal there is no bar, however long the work."""
        times = iter([0.0, 100.0, 200.0])
        bar = ProgressBar(clock=lambda: next(times))
        bar("reading", 1, 10)
        bar.close()
        assert capsys.readouterr() == ("", "")

    def test_short_work_shows_no_bar_and_long_work_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal a bar appears once the work has lasted two seconds."""
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        now = [0.0]
        bar = ProgressBar(clock=lambda: now[0])
        now[0] = output.QUIET_SECONDS / 2
        bar("reading", 1, 10)
        assert not bar.is_shown
        now[0] = output.QUIET_SECONDS * 2
        bar("reading", 2, 10)
        assert bar.is_shown
        bar.close()
        assert not bar.is_shown


class TestIntervals:
    def test_a_full_sketch_has_no_upper_bound(self) -> None:
        """A lower bound prints in the table as what it is, without a number it does not have."""
        body = {"estimate": 65000, "lower_95": 64900, "upper_95": None, "is_lower_bound": True}
        assert "[64,900, no upper bound]" in estimate_with_interval(body)
