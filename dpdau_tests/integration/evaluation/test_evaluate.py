"""An evaluation end to end: a stream, every combination through the release path, files, pictures, the notebook."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_assets.cli.output import exit_code_of
from dpdau_assets.errors import ConfigurationError, InputError
from dpdau_assets.evaluation.accuracy import plots
from dpdau_assets.evaluation.accuracy.grid import composed_cap
from dpdau_assets.evaluation.accuracy.results import read_results, write_results
from dpdau_assets.evaluation.accuracy.run import (
    DELETE_RATE,
    HISTORY_DAYS,
    P_ACTIVE,
    SIMULATED_LAST,
    Evaluation,
    Plan,
    quick,
    run_evaluation,
)
from dpdau_assets.evaluation.streams.simulate import SimulatedStream
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM
from dpdau_assets.settings.settings import Settings
from dpdau_tests import REPOSITORY
from dpdau_tests.support.command_line import CommandLine, write_lines

NOTEBOOK = REPOSITORY / "dpdau_assets" / "evaluation" / "notebooks" / "evaluation.ipynb"
SETTINGS = Settings(noise_source="seeded")
PLAN = replace(quick(Plan(seed=7)), days=3, timed_days=1, mechanisms=("joint", "tree"), sketches=("set", "hll"))
TIMES = {"release_median_ms", "release_p99_ms", "build_median_ms", "build_p99_ms"}


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """A small evaluation over a simulated stream."""
    return run_evaluation(SETTINGS, PLAN)


@pytest.fixture(scope="module")
def folder(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was written."""
    path = tmp_path_factory.mktemp("experiment")
    write_results(found, path)
    return path


def exact_users() -> dict[tuple[str, str], int]:
    """Users by metric and day, from the stream's definition: an erasure removes a user through its day."""
    stream = SimulatedStream(PLAN.seed, PLAN.users, P_ACTIVE, DELETE_RATE)
    days = [SIMULATED_LAST - timedelta(days=back) for back in range(PLAN.days + HISTORY_DAYS - 1, -1, -1)]
    active = {day: set(stream.active_users(day).tolist()) for day in days}
    for day in days:
        for user in stream.erased_users(day).tolist():
            for earlier in days[: days.index(day) + 1]:
                active[earlier].discard(user)
    lengths = {"dau": 1, "wau": 7, "mau": 30}
    return {
        (metric, str(day)): len(set().union(*(active[each] for each in days[max(0, at - length + 1) : at + 1])))
        for metric, length in lengths.items()
        for at, day in enumerate(days)
    }


class TestEvaluation:
    def test_every_combination_is_there(self, found: Evaluation) -> None:
        """Each pair at each budget and metric, all made or refused; tree beside them; the rest has reasons."""
        pairs = [(row.mechanism, row.sketch, row.budget, row.metric) for row in found.rows]
        budgets = ("settings", "cap 1")
        released = [("joint", "set", budget, metric) for budget in budgets for metric in ("dau", "wau", "mau")]
        assert pairs == released + [("tree", "exact", budget, "mau") for budget in budgets]
        assert {row.released + row.refused for row in found.rows} == {PLAN.days}
        left_out = {(each.mechanism, each.sketch) for each in found.unsupported}
        assert left_out == {("joint", "hll"), ("tree", "set"), ("tree", "hll")}

    def test_errors_are_against_the_true_counts(self, found: Evaluation) -> None:
        """The exact counts are those of the stream's definition, and rows follow from the published values."""
        users = exact_users()
        assert all(point.exact_users_trusted_side == users[point.metric, point.day] for point in found.points)
        row = found.rows[0]
        own = [
            point
            for point in found.points
            if (point.mechanism, point.sketch, point.budget, point.metric)
            == (row.mechanism, row.sketch, row.budget, row.metric)
        ]
        errors = [point.estimate - users[point.metric, point.day] for point in own]
        assert row.rmse == pytest.approx(math.sqrt(sum(error**2 for error in errors) / len(errors)), abs=1e-3)
        assert row.bias == pytest.approx(sum(errors) / len(errors), abs=1e-3)

    def test_errors_are_as_large_as_predicted(self, found: Evaluation) -> None:
        """Over all combinations the squared errors are what the stored deviations say, roughly."""
        made = [row for row in found.rows if row.rmse is not None and row.expected_rmse]
        ratio = sum((row.rmse or 0) ** 2 / (row.expected_rmse or 1) ** 2 for row in made) / len(made)
        assert 0.4 < ratio < 2.5

    def test_losses_stay_within_their_caps(self, found: Evaluation) -> None:
        """What was charged, recomputed, is positive and within the budget of the row."""
        joint = {"settings": SETTINGS.joint_budget_total, "cap 1": composed_cap(1.0, delta=SETTINGS.delta)}
        alone = {"settings": SETTINGS.mau_budget_total, "cap 1": 1.0}
        for row in found.rows:
            limit = (joint if row.mechanism == "joint" else alone)[row.budget]
            assert 0 < (row.epsilon_spent or 0) <= limit

    @pytest.mark.slow
    def test_it_can_be_repeated(self, found: Evaluation) -> None:
        """The same configuration gives the same values, times apart, whatever else is played."""
        again = run_evaluation(SETTINGS, replace(PLAN, budgets=PLAN.budgets[1:]))
        expected = [row for row in found.rows if row.budget == "cap 1"]
        assert [_timeless(row) for row in again.rows] == [_timeless(row) for row in expected]

    def test_a_refused_configuration_plays_nothing(self) -> None:
        """What `allow` raises leaves before anything is staged."""

        def refuse(configuration: dict[str, object]) -> None:
            raise ConfigurationError(f"seed {configuration['seed']}")

        with pytest.raises(ConfigurationError, match="seed 7"):
            run_evaluation(SETTINGS, PLAN, allow=refuse)


def _timeless(row: object) -> dict[str, object]:
    return {name: value for name, value in asdict(row).items() if name not in TIMES}  # type: ignore[call-overload]


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestEverything:
    def test_every_supported_pair_is_played(self) -> None:
        """A quick evaluation of everything: 13 pairs through the release path, tree and matrix beside them."""
        plan = quick(Plan(seed=7))
        everything = run_evaluation(SETTINGS, plan)
        supported = {(name, sketch) for name, sketches in SKETCHES_OF_MECHANISM.items() for sketch in sketches}
        played = {(row.mechanism, row.sketch) for row in everything.rows if row.released}
        assert played == supported | {("tree", "exact"), ("matrix", "exact")}
        assert len(everything.unsupported) == 3 + 2 * 4
        rows = [row for row in everything.rows if row.sketch != "exact"]
        assert len(rows) == 13 * 2 * 3 and {row.released + row.refused for row in rows} == {plan.days}
        assert {(row.mechanism, row.budget) for row in rows if row.refused} == {("laplace", "settings")}
        made = sum(row.released for row in rows)
        held = sum(row.released * (row.coverage or 0) for row in rows)
        assert 0.9 < held / made < 0.985


class TestCommand:
    @pytest.mark.slow
    def test_a_stream_of_ones_own(self, tmp_path: Path) -> None:
        """A CSV with other column names is evaluated into the experiment's folder; nothing else is made there."""
        dpdau = CommandLine(tmp_path, EXPERIMENT_ID="mine")
        rows = [f"{user},2026-03-{day:02d}" for day in range(1, 10) for user in range(day)]
        (tmp_path / "visits.csv").write_text("\n".join(["customer,visited", *rows]) + "\n")
        few = ("--days", "2", "--mechanisms", "laplace,matrix", "--sketches", "hll", "--caps", "", "--epsilons", "1")
        columns = ("--stream", tmp_path / "visits.csv", "--user-column", "customer", "--time-column", "visited")
        document = dpdau.json("evaluate", *columns, *few)
        assert (document["combinations"], document["unsupported"]) == (2, 2)
        folder = dpdau.data / "experiments" / "mine"
        assert [path.name for path in dpdau.data.iterdir()] == ["experiments"]
        results = read_results(folder)
        assert {point.exact_users_trusted_side for point in results.points} == {8, 9}
        assert str(tmp_path) not in (folder / "config.json").read_text()
        refused = dpdau("evaluate", *columns, *few, "--seed", "1")
        assert (refused.code, len(refused.err.strip().splitlines())) == (1, 1)
        assert "another configuration (other seed)" in refused.err

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("--stream", "nowhere.csv"), 3),
            (("--mechanisms", "magic"), 2),
            (("--sketches", ","), 2),
            (("--caps", "1,many"), 2),
            (("--epsilons", "0"), 2),
            (("--format", "xml"), 2),
        ],
    )
    def test_bad_requests_are_one_line(self, tmp_path: Path, arguments: tuple[str, str], code: int) -> None:
        """Unknown names, numbers and files: usage or input errors, nothing written."""
        answer = CommandLine(tmp_path)("evaluate", *arguments)
        assert (answer.code, len(answer.err.strip().splitlines())) == (code, 1)
        assert not (tmp_path / "data").exists()

    def test_a_stream_without_activity_is_refused(self, tmp_path: Path) -> None:
        """A file whose rows are all rejected is bad input."""
        dpdau = CommandLine(tmp_path)
        write_lines(tmp_path / "empty.jsonl", [("", "2026-01-01")])
        answer = dpdau("evaluate", "--stream", tmp_path / "empty.jsonl")
        assert answer.code == exit_code_of(InputError)
        assert "holds no activity" in answer.err


class TestPlots:
    @pytest.mark.slow
    def test_every_figure_is_drawn(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each figure becomes a PNG file of its own, larger than an empty one."""
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(plots, "RESOLUTION", 40)
        paths = plots.draw_plots(read_results(folder), folder / "plots")
        assert {path.stem for path in paths} == set(plots.FIGURES)
        for path in paths:
            content = path.read_bytes()
            assert content.startswith(b"\x89PNG") and len(content) > 5_000

    def test_without_matplotlib_it_says_what_to_install(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """One line with the command, and no half of a figure."""
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        answer = CommandLine(tmp_path)("plots", "--from", folder, "--out", tmp_path / "out")
        assert (answer.code, len(answer.err.strip().splitlines())) == (1, 1)
        assert "pip install 'dpdau-assets[evaluation]'" in answer.err
        assert not (tmp_path / "out").exists()

    def test_the_command_names_what_it_drew(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """plots reads the experiment's folder; without results it names the command that makes them."""
        dpdau = CommandLine(tmp_path)
        assert "run `dpdau evaluate` first" in dpdau("plots").err
        pytest.importorskip("matplotlib")
        monkeypatch.setattr(plots, "FIGURES", {"coverage": plots.coverage_figure})
        written = dpdau.json("plots", "--from", folder, "--out", tmp_path / "out")["written"]
        assert sorted(written) == sorted(str(path) for path in (tmp_path / "out").iterdir())


class TestNotebook:
    def test_it_holds_no_output_and_no_path(self) -> None:
        """Under version control are its cells alone: no result, no machine's path, the kernel by its plain name."""
        text = NOTEBOOK.read_text(encoding="utf-8")
        notebook = json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert not any(path in text for path in ("/home/", "/work/", "/root/", "/usr/", ".venv/bin"))

    @pytest.mark.slow
    def test_it_runs_on_an_experiment(self, folder: Path, tmp_path: Path) -> None:
        """Papermill runs it whole, by this interpreter, and its pictures and tables are in the copy."""
        papermill = pytest.importorskip("papermill")
        done = papermill.execute_notebook(
            NOTEBOOK,
            tmp_path / "done.ipynb",
            parameters={"folder": str(folder)},
            kernel_name="python3",
            progress_bar=False,
        )
        outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
        assert sum("image/png" in output.get("data", {}) for output in outputs) == len(plots.FIGURES)
        assert not any(output.output_type == "error" for output in outputs)
