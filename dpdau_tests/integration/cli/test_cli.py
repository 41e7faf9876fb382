"""A data folder's life by the command line: the JSON shapes, what is printed, what costs, what is final."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest

from dpdau_tests.support.command_line import CommandLine, write_lines

FIRST = date(2024, 1, 1)
BODY_FIELDS = {
    "metric",
    "day",
    "window_days",
    "window_complete",
    "days_in_window",
    "estimate",
    "lower_95",
    "upper_95",
    "is_lower_bound",
    "epsilon_used",
    "delta",
    "mechanism",
    "sketch_impl",
    "noise_source",
    "private",
    "revision",
    "budget_remaining",
    "budget",
    "version",
}
BUDGET_FIELDS = {
    "metric",
    "period",
    "epsilon_cap",
    "epsilon_spent",
    "epsilon_remaining",
    "budget_remaining",
    "delta",
    "bounds",
    "best_rdp_order",
    "release_count",
    "releases_remaining",
    "next_funded_day",
    "resets",
    "trailing_365d_epsilon",
    "lifetime_epsilon",
}


def day(offset: int) -> str:
    return str(FIRST + timedelta(days=offset))


def activity(days: int, users: int) -> list[tuple[object, ...]]:
    """User u is active on every day whose number is a multiple of u mod 5 plus 1."""
    return [(f"u{user}", day(d)) for d in range(days) for user in range(users) if d % (user % 5 + 1) == 0]


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    """An empty project whose series begins on 2024-01-01."""
    return CommandLine(tmp_path, SERIES_START=str(FIRST), SKETCH_IMPL="set")


@pytest.fixture
def filled(dpdau: CommandLine) -> CommandLine:
    """The project with ten days of 300 users."""
    dpdau.json("ingest", "--from", write_lines(dpdau.folder / "a.jsonl", activity(10, 300)))
    return dpdau


class TestIngest:
    def test_the_report_counts_events_days_and_rejects(self, dpdau: CommandLine) -> None:
        """ingest answers with files, events, accepted, rejected by reason, days and duplicates."""
        rows = [*activity(3, 10), ("", day(0)), ("x", "not a day")]
        report = dpdau.json("ingest", "--from", write_lines(dpdau.folder / "a.jsonl", rows))
        counters = {"files", "events", "accepted", "days", "duplicates_of_earlier_batches"}
        assert set(report) == {*counters, "rejected", "first_day", "last_day"}
        assert {type(report[name]) for name in counters} == {int}
        assert (report["days"], report["first_day"], report["last_day"]) == (3, day(0), day(2))
        assert report["events"] == len(rows)
        assert report["accepted"] == len(rows) - 2
        assert {reason: n for reason, n in report["rejected"].items() if n} == {"no_user": 1, "bad_time": 1}

    def test_the_same_content_twice_changes_nothing(self, filled: CommandLine) -> None:
        """Ingesting a file again, under another name, is a duplicate and counts nobody twice."""
        before = filled.json("trusted-counts", "--start", day(0), "--end", day(9))
        copy = filled.folder / "copy.jsonl"
        copy.write_bytes((filled.folder / "a.jsonl").read_bytes())
        assert filled.json("ingest", "--from", copy)["duplicates_of_earlier_batches"] == 1
        assert filled.json("trusted-counts", "--start", day(0), "--end", day(9)) == before

    def test_a_dry_run_leaves_no_trace(self, dpdau: CommandLine) -> None:
        """--dry-run shows what would happen; afterwards the file is as new."""
        path = write_lines(dpdau.folder / "a.jsonl", activity(3, 10))
        shown = dpdau.json("ingest", "--dry-run", "--from", path)
        assert shown["accepted"] == len(activity(3, 10))
        bad = write_lines(dpdau.folder / "b.jsonl", [*activity(3, 10), ("", day(0))])
        words = dpdau("ingest", "--dry-run", "--from", bad).out
        for part in (str(len(activity(3, 10)) + 1), "3 days", day(0), day(2), "no_user 1"):
            assert part in words
        assert dpdau.json("ingest", "--from", path)["duplicates_of_earlier_batches"] == 0

    def test_several_files_after_one_from(self, dpdau: CommandLine) -> None:
        """`--from a b`, as a shell expands a pattern, ingests both."""
        first = write_lines(dpdau.folder / "a.jsonl", [("a", day(0))])
        second = write_lines(dpdau.folder / "b.jsonl", [("b", day(0))])
        assert dpdau.json("ingest", "--from", first, second)["accepted"] == 2
        (row,) = dpdau.json("trusted-counts", "--start", day(0), "--end", day(0))
        assert row["dau"] == 2

    def test_columns_can_be_named(self, dpdau: CommandLine) -> None:
        """--user-column, --time-column and --op-column choose the columns of a CSV file."""
        path = dpdau.folder / "a.csv"
        path.write_text(f"who,at,what\nx,{day(0)},+\ny,{day(0)},+\ny,{day(0)},-\n", encoding="utf-8")
        columns = ["--user-column", "who", "--time-column", "at", "--op-column", "what"]
        assert dpdau.json("ingest", "--from", path, *columns)["accepted"] == 3
        (row,) = dpdau.json("trusted-counts", "--start", day(0), "--end", day(0))
        assert row["dau"] == 1


class TestTrustedCounts:
    def test_counts_are_exact_and_say_so_loudly(self, filled: CommandLine) -> None:
        """trusted-counts lists day, dau, wau and mau, exact, and warns on standard error only."""
        answer = filled("trusted-counts", "--start", day(0), "--end", day(9), "--json")
        users = [{user for user, when in activity(10, 300) if when == day(d)} for d in range(10)]
        expected = [
            {
                "day": day(d),
                "dau": len(users[d]),
                "wau": len(set().union(*users[max(0, d - 6) : d + 1])),
                "mau": len(set().union(*users[: d + 1])),
            }
            for d in range(10)
        ]
        assert answer.document == expected
        assert "EXACT" in answer.err
        assert "NOT PRIVATE" in answer.err


class TestRelease:
    def test_a_release_has_the_documented_body(self, filled: CommandLine) -> None:
        """dau, wau and mau print the release body and nothing of the exact count."""
        for arguments in (("dau", "--day"), ("wau", "--end"), ("mau", "--end")):
            body = filled.json(*arguments, day(9))
            assert set(body) == BODY_FIELDS
            assert set(body["budget"]) >= {"epsilon_spent", "epsilon_cap", "epsilon_remaining"}
            assert body["lower_95"] <= body["estimate"] <= body["upper_95"]
            assert (body["private"], body["noise_source"]) == (True, "secure")

    def test_a_published_value_is_final_and_costs_once(self, filled: CommandLine) -> None:
        """Asking again returns the same body and leaves the budget as it was, also after an erasure."""
        first = filled.json("dau", "--day", day(3))
        filled.json("erase", "u4", "--wait")
        second = filled.json("dau", "--day", day(3))
        assert {**first, "budget": None} == {**second, "budget": None}
        assert filled.json("budget", "dau", "--month", "2024-01")["release_count"] == 1

    def test_a_range_is_a_list_of_bodies(self, filled: CommandLine) -> None:
        """release lists one body for each day and metric, in calendar order."""
        bodies = filled.json("release", "--start", day(0), "--end", day(4), "--metric", "dau", "--metric", "mau")
        assert [(body["day"], body["metric"]) for body in bodies] == [
            (day(d), metric) for d in range(5) for metric in ("dau", "mau")
        ]

    def test_released_values_lie_near_the_exact_ones(self, filled: CommandLine) -> None:
        """All values of ten days lie within six standard deviations of the exact counts."""
        exact = {row["day"]: row for row in filled.json("trusted-counts", "--start", day(0), "--end", day(9))}
        for body in filled.json("release", "--start", day(0), "--end", day(9)):
            assert abs(body["estimate"] - exact[body["day"]][body["metric"]]) < 6 * 5.3

    def test_the_human_form_is_a_table_or_a_sentence(self, filled: CommandLine) -> None:
        """Without --json a range is a table and one value a sentence with its interval and what is left."""
        table = filled("release", "--start", day(0), "--end", day(1)).out.splitlines()
        assert table[0].split()[0] == "day"
        assert [line.split()[0] for line in table[1:]] == [day(0), day(1)]
        sentence = filled("dau", "--day", day(0)).out
        assert sentence.count("\n") == 1
        assert "95 % interval" in sentence
        assert "left in 2024-01" in sentence

    def test_a_revision_is_a_new_charged_value(self, filled: CommandLine) -> None:
        """--revise draws and charges again, with a reason, and the new value replaces the old one."""
        filled.json("dau", "--day", day(3))
        (body,) = filled.json(
            *("release", "--start", day(3), "--end", day(3), "--metric", "dau", "--revise", "--reason", "late source")
        )
        assert body["revision"] == 1
        assert filled.json("dau", "--day", day(3))["revision"] == 1
        assert filled.json("budget", "dau", "--month", "2024-01")["release_count"] == 2


class TestCalendar:
    def test_an_open_day_is_five(self, filled: CommandLine) -> None:
        """A day that is not over yet ends with 5 and the error not_closed."""
        answer = filled("dau", "--day", str(date.today() + timedelta(days=1)), "--json")
        assert (answer.code, answer.out, answer.error["error"]) == (5, "", "not_closed")

    def test_a_day_before_the_series_is_five(self, filled: CommandLine) -> None:
        """A day before SERIES_START ends with 5 and the error outside_series."""
        answer = filled("mau", "--end", "2023-12-31", "--json")
        assert (answer.code, answer.error["error"]) == (5, "outside_series")

    def test_without_a_series_one_line_says_what_is_missing(self, tmp_path: Path) -> None:
        """Without SERIES_START nothing is released and the line names the setting."""
        dpdau = CommandLine(tmp_path)
        dpdau.json("ingest", "--from", write_lines(tmp_path / "a.jsonl", [("a", day(0))]))
        answer = dpdau("dau", "--day", day(0))
        assert answer.code == 5
        assert "SERIES_START" in answer.err
        assert answer.err.count("\n") == 1


class TestBudget:
    def test_budget_has_the_documented_fields(self, filled: CommandLine) -> None:
        """budget prints every documented field, with four bounds as (epsilon, delta) pairs."""
        filled.json("release", "--start", day(0), "--end", day(2), "--metric", "dau")
        document = filled.json("budget", "dau", "--month", "2024-01")
        assert set(document) == BUDGET_FIELDS
        assert set(document["bounds"]) == {"naive", "advanced", "rdp", "pld"}
        assert all(set(bound) == {"epsilon", "delta"} for bound in document["bounds"].values())
        assert document["release_count"] == 3
        assert 0 < document["epsilon_spent"] < document["epsilon_cap"]

    def test_a_range_beyond_the_budget_prints_what_fits_and_ends_with_four(self, tmp_path: Path) -> None:
        """Days that fit are printed, the first that does not is refused with the amounts, the next month goes on."""
        tight = {"MECHANISM": "gaussian", "DAU_BUDGET_TOTAL": "0.35"}
        dpdau = CommandLine(tmp_path, SERIES_START="2024-01-30", SKETCH_IMPL="set", **tight)
        dpdau.json("ingest", "--from", write_lines(tmp_path / "a.jsonl", [("a", "2024-01-30")]))
        answer = dpdau("release", "--start", "2024-01-30", "--end", "2024-02-01", "--metric", "dau", "--json")
        assert answer.code == 4
        assert [body["day"] for body in answer.document] == ["2024-01-30", "2024-02-01"]
        assert answer.error["error"] == "budget_exhausted"
        assert "0.350" in answer.error["message"]
        refused = dpdau("dau", "--day", "2024-01-31")
        assert (refused.code, refused.out) == (4, "")
        assert refused.err.count("\n") == 1

    def test_a_reset_opens_another_account(self, tmp_path: Path) -> None:
        """After reset-budget with a reason a refused day is released, and bodies and budget show the reset."""
        tight = {"MECHANISM": "gaussian", "DAU_BUDGET_TOTAL": "0.35"}
        dpdau = CommandLine(tmp_path, SERIES_START="2024-01-30", SKETCH_IMPL="set", **tight)
        dpdau.json("ingest", "--from", write_lines(tmp_path / "a.jsonl", [("a", "2024-01-30")]))
        dpdau.json("dau", "--day", "2024-01-30")
        assert dpdau("dau", "--day", "2024-01-31").code == 4
        dpdau.json("reset-budget", "dau", "--month", "2024-01", "--reason", "approved by the board")
        assert dpdau.json("dau", "--day", "2024-01-31")["day"] == "2024-01-31"
        assert dpdau.json("budget", "dau", "--month", "2024-01")["resets"]


class TestErasure:
    def test_the_answer_names_a_request_and_no_user(self, filled: CommandLine) -> None:
        """erase answers with request, requested and already_known; asking again is already known."""
        first = filled("erase", "u1", "--json")
        assert set(first.document) == {"request", "requested", "already_known"}
        assert (first.document["requested"], first.document["already_known"]) == (1, 0)
        assert "u1" not in first.out.replace(first.document["request"], "")
        assert filled.json("erase", "u1")["already_known"] == 1

    def test_flush_deletes_replays_what_is_pending(self, filled: CommandLine) -> None:
        """A pending erasure is listed, flush-deletes applies it, and the user is counted no more."""
        before = filled.json("trusted-counts", "--start", day(0), "--end", day(0))[0]["dau"]
        filled.json("erase", "u1", "--through", day(9))
        assert len(filled.json("erasures", "--pending")) == 1
        assert filled.json("flush-deletes") == {"erasures_applied": 1}
        assert filled.json("erasures", "--pending") == []
        assert len(filled.json("erasures")) == 1
        assert filled.json("trusted-counts", "--start", day(0), "--end", day(0))[0]["dau"] == before - 1

    @pytest.mark.parametrize("by", ["stdin", "file"])
    def test_ids_come_one_a_line(self, filled: CommandLine, by: str) -> None:
        """`erase -` and `erase --from FILE` read one id a line, whatever the line ending."""
        ids = b"u1\r\nu2\n\nu3"
        if by == "stdin":
            receipt = filled.json("erase", "-", "--wait", stdin=ids)
        else:
            (filled.folder / "ids").write_bytes(ids)
            receipt = filled.json("erase", "--from", filled.folder / "ids", "--wait")
        assert receipt["requested"] == 3
        assert filled.json("trusted-counts", "--start", day(0), "--end", day(0))[0]["dau"] == 297

    def test_ids_come_in_a_format_of_ingest(self, filled: CommandLine) -> None:
        """`erase --from` reads the user column of a table."""
        path = filled.folder / "ids.csv"
        path.write_text("note,who\nx,u1\ny,u2\n")
        assert filled.json("erase", "--from", path, "--user-column", "who", "--wait")["requested"] == 2
        assert filled.json("trusted-counts", "--start", day(0), "--end", day(0))[0]["dau"] == 298

    def test_without_standard_input_there_is_one_line(self, dpdau: CommandLine) -> None:
        """`erase -` in a process without standard input is a usage error and makes no data folder."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = dpdau.start("erase", "-", "--json", preexec_fn=lambda: os.close(0), **pipes)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert json.loads(err)["error"] == "usage"
        assert not (dpdau.data / "ledgers").exists()


class TestTheRest:
    def test_status_says_what_to_do_next(self, filled: CommandLine) -> None:
        """status names the days reached, what is pending, the budget and the next action."""
        document = filled.json("status")
        assert document["daemon_alive"] is False
        assert document["last_event_day"] == day(9)
        assert document["pending_folds"]["closed_days"] == 10
        assert document["next_action"].startswith("dpdau release")
        text = filled("status").out
        assert text.splitlines()[-1].split(maxsplit=1) == ["next", document["next_action"]]

    def test_a_batch_is_taken_back_before_it_is_folded(self, filled: CommandLine) -> None:
        """discard-batch undoes an ingest as long as nothing of it is folded; afterwards it is refused."""
        (batch,) = filled.json("status")["pending_folds"]["batches_not_folded"]
        assert filled.json("discard-batch", batch) == {"discarded": batch}
        assert filled.json("status")["last_event_day"] is None
        assert filled.json("ingest", "--from", filled.folder / "a.jsonl")["duplicates_of_earlier_batches"] == 0
        (batch,) = filled.json("status")["pending_folds"]["batches_not_folded"]
        filled.json("rebuild", "--start", day(0), "--end", day(9))
        answer = filled("discard-batch", batch)
        assert answer.code in (2, 3)
        assert answer.err.count("\n") == 1

    def test_rebuild_answers_days_and_seconds(self, filled: CommandLine) -> None:
        """rebuild builds the range again and leaves the counts as they are."""
        before = filled.json("trusted-counts", "--start", day(0), "--end", day(9))
        document = filled.json("rebuild", "--start", day(0), "--end", day(9))
        assert set(document) == {"days", "seconds"}
        assert document["days"] == 10
        assert filled.json("trusted-counts", "--start", day(0), "--end", day(9)) == before

    def test_export_and_report_write_released_values_only(self, filled: CommandLine) -> None:
        """export and report write their files, holding the released estimate and not the exact count."""
        body = filled.json("dau", "--day", day(0))
        files = [Path(name) for name in filled.json("export")["files"]]
        assert sorted(path.suffix for path in files) == [".csv", ".parquet"]
        rows = next(path for path in files if path.suffix == ".csv").read_text(encoding="utf-8").splitlines()
        assert len(rows) == 2
        assert f"{body['estimate']:g}" in rows[1]
        page = Path(filled.json("report")["report"]).read_text(encoding="utf-8")
        assert "<svg" in page
        assert "http://" not in page.replace("http://www.w3.org", "")

    @pytest.mark.parametrize("flags", [(), ("--synthetic",)])
    def test_init_tells_what_the_folder_is(self, dpdau: CommandLine, flags: tuple[str, ...]) -> None:
        """init says whether the folder is synthetic, which its first making decides, not the flags of a repetition."""
        for asked in (flags, ()):
            assert dpdau.json("init", *asked)["synthetic"] is bool(flags)
            assert (" (synthetic)" in dpdau("init").out) is bool(flags)

    def test_init_is_harmless_when_repeated(self, dpdau: CommandLine) -> None:
        """init makes ledger, secrets and catalogue; a second one changes no secret."""
        dpdau.json("init")
        secret = (dpdau.data / "secrets" / "salts.json").read_bytes()
        assert (dpdau.data / "dpdau.duckdb").is_file()
        dpdau.json("init")
        assert (dpdau.data / "secrets" / "salts.json").read_bytes() == secret

    def test_generated_activity_can_be_ingested(self, dpdau: CommandLine) -> None:
        """generate-synthetic writes what ingest accepts whole, and notes it in the streams folder."""
        out = dpdau.data / "streams" / "smoke.jsonl"
        options = ["--days", "14", "--daily-users", "50", "--delete-rate", "0.15", "--end", day(13), "--out", str(out)]
        made = dpdau.json("generate-synthetic", *options)
        again = out.read_bytes()
        assert dpdau.json("generate-synthetic", *options) == made
        assert out.read_bytes() == again
        assert (out.parent / "README.md").read_text(encoding="utf-8").count("smoke.jsonl") == 1
        report = dpdau.json("ingest", "--from", out)
        assert report["accepted"] == made["events"]
        assert not any(report["rejected"].values())
