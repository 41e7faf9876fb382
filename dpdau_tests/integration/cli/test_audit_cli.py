"""The command audit: where it writes, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dpdau_assets.errors import InputError
from dpdau_assets.evaluation.accuracy.experiments import experiment_folder
from dpdau_assets.evaluation.audit import run
from dpdau_assets.evaluation.audit.controls import Control
from dpdau_assets.settings.settings import Settings
from dpdau_tests.support.command_line import CommandLine

EMPTY = replace(run.SHORT, pairs=(), mechanisms=(), controls=())


@pytest.fixture
def dpdau(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path / "project", EXPERIMENT_ID="first-look")


def unseen(*_args: object, **_named: object) -> Control:
    return Control("a fault", "nobody", ())


class TestAuditCommand:
    def test_it_writes_to_the_experiment(self, dpdau: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        """Verdict and data go to DATA_DIR/experiments/EXPERIMENT_ID/audit with the parameters; nothing else is made."""
        monkeypatch.setattr(run, "SHORT", EMPTY)
        document = dpdau.json("audit")
        folder = dpdau.data / "experiments" / "first-look" / "audit"
        assert [Path(path) for path in document["written"]] == [folder / "verdict.md", folder / "audit.json"]
        assert document["ok"] and document["configuration"]["epsilon_dau"] == 0.3
        assert [path.name for path in dpdau.data.iterdir()] == ["experiments"]

    def test_a_finding_ends_with_1(self, dpdau: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is not as claimed is printed, written, and the exit code."""
        monkeypatch.setattr(run, "SHORT", replace(EMPTY, controls=(unseen,)))
        answer = dpdau("audit", "--out", dpdau.folder / "elsewhere")
        assert answer.code == 1
        assert "the fault 'a fault' was not seen by nobody" in answer.out
        assert "**Verdict: NOT as claimed.**" in (dpdau.folder / "elsewhere" / "verdict.md").read_text()

    def test_long_is_another_form(self, dpdau: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        """--long runs the long form, which covers every supported pair."""
        assert {pair[:2] for pair in run.LONG.pairs} >= {("joint", "set"), ("correlated", "hll"), ("laplace", "theta")}
        monkeypatch.setattr(run, "LONG", replace(EMPTY, name="long"))
        assert dpdau.json("audit", "--long")["form"] == "long"

    def test_a_folder_that_cannot_be_written_is_one_line(
        self, dpdau: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file in the place of the folder: one line, exit code 1."""
        monkeypatch.setattr(run, "SHORT", EMPTY)
        (dpdau.folder / "file").write_text("")
        answer = dpdau("audit", "--out", dpdau.folder / "file")
        assert (answer.code, len(answer.err.strip().splitlines())) == (1, 1)


class TestExperimentFolder:
    @pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "-"])
    def test_names_stay_below_the_data_folder(self, tmp_path: Path, name: str) -> None:
        """EXPERIMENT_ID is a plain name, never a path."""
        with pytest.raises(InputError):
            experiment_folder(Settings(data_dir=tmp_path, experiment_id=name))
        assert experiment_folder(Settings(data_dir=tmp_path)) == tmp_path / "experiments" / "dev"
