"""Verification and certificates of erasure, by command."""

from __future__ import annotations

from pathlib import Path

from dpdau_tests.support.command_line import CommandLine, write_lines


class TestCommands:
    def test_verify_and_certificate_by_command(self, tmp_path: Path) -> None:
        """`verify` ends with 0 or 1 and one document either way; `certificate` prints and writes, or says why not."""
        run = CommandLine(tmp_path / "project", SERIES_START="2026-01-01")
        source = write_lines(tmp_path / "a.jsonl", [(f"user-{number}", "2026-01-02") for number in range(5)])
        run.json("ingest", "--from", source)
        assert run.json("verify") == {"ok": True, "findings": [], "pending": [], "notes": []}
        request = run.json("erase", "user-1", "--through", "2026-01-31")["request"]
        refused = run("certificate", request, "--json")
        assert (refused.code, refused.error["error"]) == (1, "data")
        assert run("certificate", "0" * 32).code == 3
        assert run("verify").out.startswith("pending: erasure requests wait")
        run.json("flush-deletes")
        certificate = run.json("certificate", request)
        assert certificate["last_day"] == "2026-01-31"
        printed = run("certificate", request).out
        assert (run.data / certificate["path"]).read_text(encoding="utf-8") == printed
        (run.data / "lake" / "notes.txt").write_text("x")
        answer = run("verify", "--json")
        assert (answer.code, answer.document["ok"]) == (1, False)
        assert answer.document["findings"][0]["place"] == "lake/notes.txt"
        assert run("verify").out.splitlines()[-1] == "NOT ok: 1 finding"
        assert "no certificate" in run("certificate", request).err
