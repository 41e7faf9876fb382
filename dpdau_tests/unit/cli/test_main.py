"""The edge of the command line: exit codes, one line for every failure, no traceback."""

from __future__ import annotations

import json
from datetime import date

import pytest

from dpdau_assets.cli.main import INTERRUPTED, guarded, run, wants_json
from dpdau_assets.core.quantities import period_of
from dpdau_assets.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    DataError,
    DpdauError,
    InputError,
    InternalError,
    NotClosedError,
    OutsideSeriesError,
    Refusal,
    StorageError,
    UnknownSettingError,
    UsageError,
)

DAY = date(2026, 1, 1)
REFUSAL = Refusal("dau", DAY, period_of(DAY), "metric", 2.9, 3.0, 3.1, 1e-6, None)
COMMANDS = [
    "init",
    "status",
    "serve",
    "settings",
    "ingest",
    "discard-batch",
    "erase",
    "erasures",
    "evaluate",
    "flush-deletes",
    "rebuild",
    "release",
    "dau",
    "wau",
    "mau",
    "backup",
    "budget",
    "reset-budget",
    "restore",
    "rotate-salt",
    "verify",
    "certificate",
    "salts",
    "apply-retention",
    "trusted-counts",
    "generate-synthetic",
    "simulate",
    "adversarial",
    "audit",
    "plan",
    "plots",
    "export",
    "report",
]


def raising(error: BaseException) -> None:
    raise error


class TestExitCodes:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (UsageError("x"), 2),
            (InputError("x"), 3),
            (UnknownSettingError("x"), 3),
            (BudgetExhaustedError((REFUSAL,)), 4),
            (NotClosedError("x", day=DAY), 5),
            (OutsideSeriesError("x", day=DAY), 5),
            (ConfigurationError("x"), 1),
            (StorageError("x"), 1),
            (DataError("x"), 1),
            (InternalError("x"), 1),
            (KeyboardInterrupt(), INTERRUPTED),
            (MemoryError(), 1),
            (OSError(28, "No space left on device"), 1),
            (RuntimeError("user-42"), 1),
        ],
    )
    def test_each_kind_of_failure_has_its_code_and_one_line(
        self, error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Every failure leaves its exit code and at most one line, without a traceback or a value."""
        assert guarded(lambda: raising(error), as_json=False) == code
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == (0 if code == INTERRUPTED else 1)
        assert "Traceback" not in captured.err
        assert "user-42" not in captured.err

    def test_every_error_of_the_tree_fits_the_json_document(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With --json every kind of error is the same three fields."""
        errors: list[DpdauError] = [UsageError("a"), BudgetExhaustedError((REFUSAL,)), DataError("b", hint="c")]
        for error in errors:
            guarded(lambda error=error: raising(error), as_json=True)
            document = json.loads(capsys.readouterr().err)
            assert set(document) == {"error", "message", "hint"}
            assert document["error"] == error.code

    def test_done_is_zero(self) -> None:
        """A command that returns nothing is done."""
        assert guarded(lambda: None, as_json=False) == 0


class TestUsage:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["dau", "--dya", "2026-01-01"],
            ["release"],
            ["release", "--start", "2026-02-30", "--end", "2026-03-01"],
            ["release", "--start", "1.1.2026", "--end", "2026-03-01"],
            ["release", "--start", "2026-01-02", "--end", "2026-01-01", "--metric", "xau"],
            ["release", "--start", "2026-01-01", "--end", "2026-01-01", "--revise"],
            ["release", "--start", "2026-01-01", "--end", "2026-01-01", "--reason", "r"],
            ["budget", "xau"],
            ["budget", "dau", "--month", "2026-1"],
            ["reset-budget", "--month", "2026-01"],
            ["reset-budget", "--month", "2026-01", "--reason", "  "],
            ["erase"],
            ["erase", "a", "--from", "b"],
            ["ingest"],
            ["ingest", "--from", "x", "--format", "xml"],
            ["generate-synthetic", "--days", "0", "--daily-users", "1", "--out", "x"],
            ["generate-synthetic", "--days", "1", "--daily-users", "1", "--out", "x", "--delete-rate", "2"],
        ],
        ids=" ".join,
    )
    @pytest.mark.one_is_enough
    def test_a_usage_error_is_two_and_one_line(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """A command line that makes no sense ends with 2 and one line, as JSON when asked."""
        assert run(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert run([*arguments, "--json"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err)["error"] == "usage"

    def test_json_after_two_dashes_is_an_argument(self) -> None:
        """`--json` counts as an option only before `--`."""
        assert wants_json(["erase", "--json", "x"])
        assert not wants_json(["erase", "--", "--json"])


class TestHelp:
    def test_help_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`dpdau` alone and `dpdau --help` list all commands of this version and no others."""
        assert run([]) == 0
        text = capsys.readouterr().out
        listed = [line.split()[0] for line in text.split("Commands:")[1].splitlines() if line.strip()]
        assert sorted(listed) == sorted(COMMANDS)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_has_json_and_help(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Every command takes --json and explains itself."""
        assert run([command, "--help"]) == 0
        assert "--json" in capsys.readouterr().out
