"""Settings: one frozen object, and every mistake named with the nearest right answer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpdau_assets.errors import ConfigurationError, InputError, UnknownSettingError
from dpdau_assets.settings.combinations import SKETCHES_OF_MECHANISM
from dpdau_assets.settings.settings import (
    Settings,
    child_environment,
    create_project,
    dagster_home,
    describe_settings,
    load_settings,
    notices,
    project_root,
    project_settings,
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as working directory, in an environment without settings."""
    for name in (*Settings.model_fields, "dagster_home"):
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / "workspace.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_dotenv(project: Path, *lines: str) -> None:
    (project / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")


class TestSources:
    def test_defaults_hold_without_anything(self, project: Path) -> None:
        """Without .env and environment every setting has its default."""
        assert load_settings() == Settings()

    def test_dotenv_wins_over_defaults_and_the_environment_over_both(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The environment wins over .env, .env over the default, an override over all."""
        write_dotenv(project, "EPSILON_DAU=0.1", "EPSILON_WAU=0.2")
        monkeypatch.setenv("EPSILON_WAU", "0.25")
        settings = load_settings(epsilon_mau=0.35)
        assert (settings.epsilon_dau, settings.epsilon_wau, settings.epsilon_mau) == (0.1, 0.25, 0.35)

    def test_an_empty_value_is_the_default(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """NAME= leaves the default in force, in .env and in the environment."""
        write_dotenv(project, "SERIES_START=", "SKETCH_K=")
        monkeypatch.setenv("TIMEZONE", "")
        assert load_settings() == Settings()

    def test_the_project_is_the_nearest_folder_with_a_workspace_file(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From a folder inside, the project's .env and data folder are found."""
        write_dotenv(project, "DATA_DIR=there")
        inside = project / "a" / "b"
        inside.mkdir(parents=True)
        monkeypatch.chdir(inside)
        assert project_root() == project
        assert load_settings().root == project / "there"

    def test_a_created_project_keeps_its_first_values(self, project: Path) -> None:
        """create_project writes once; a second call changes neither file."""
        create_project(project / "p", DATA_DIR=".", SERIES_START="2026-01-01")
        create_project(project / "p", DATA_DIR=".", SERIES_START="2027-01-01")
        settings = project_settings(project / "p")
        assert str(settings.series_start) == "2026-01-01"
        assert settings.root == (project / "p").resolve()

    def test_project_settings_ignore_the_environment(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the environment says about other data never reaches a project read by name."""
        create_project(project / "p", DATA_DIR=".")
        monkeypatch.setenv("DATABASE_URL", "sqlite:////elsewhere.sqlite")
        assert project_settings(project / "p").database_url is None
        assert "DATABASE_URL" not in child_environment()
        assert child_environment(keep_settings=True, X="1")["DATABASE_URL"] == "sqlite:////elsewhere.sqlite"

    def test_the_dagster_home_lies_in_the_data_folder(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without DAGSTER_HOME it is DATA_DIR/dagster, with it that folder."""
        assert dagster_home(load_settings()) == project / "data" / "dagster"
        monkeypatch.setenv("DAGSTER_HOME", str(project / "h"))
        assert dagster_home(load_settings()) == project / "h"


class TestRefusals:
    def test_an_unknown_name_in_dotenv_names_the_nearest(self, project: Path) -> None:
        """A typing mistake in .env is refused with the setting that was probably meant."""
        write_dotenv(project, "EPSILON_DUA=0.1")
        with pytest.raises(UnknownSettingError) as caught:
            load_settings()
        assert "EPSILON_DUA" in caught.value.message
        assert "EPSILON_DAU" in caught.value.hint

    def test_names_of_dagster_may_share_the_file(self, project: Path) -> None:
        """DAGSTER_... of Dagster itself is left to Dagster; ours misspelt is not taken for one."""
        write_dotenv(project, "DAGSTER_HOME=/x", "DAGSTER_HISTORY_DAYS=10")
        assert load_settings().dagster_history_days == 10
        write_dotenv(project, "DAGSTER_HISTORY_DAY=10")
        with pytest.raises(UnknownSettingError):
            load_settings()

    @pytest.mark.parametrize("line", [b"EPSILON_DAU 0.1", b"EPSILON_DAU", b"SERIES_START='2025-01-01", b"A\xff=1"])
    def test_a_line_that_is_no_setting_is_refused(self, project: Path, line: bytes) -> None:
        """A line that cannot be read is an error, not a default silently in force."""
        (project / ".env").write_bytes(b"EPSILON_WAU=0.2\n" + line + b"\n")
        with pytest.raises(InputError, match=r"\.env"):
            load_settings()

    def test_the_alias_of_the_database_url_counts(self, project: Path) -> None:
        """SERVICE_DATABASE_URL names the ledger where DATABASE_URL does not."""
        write_dotenv(project, "SERVICE_DATABASE_URL=sqlite:////x/y.sqlite")
        url = load_settings().database_url
        assert url is not None and url.get_secret_value() == "sqlite:////x/y.sqlite"

    def test_an_engine_that_is_not_here_is_refused(self, project: Path) -> None:
        """A value that this version does not have is refused at start, with what to use instead."""
        write_dotenv(project, "COMPUTE_ENGINE=spark")
        with pytest.raises(ConfigurationError, match="COMPUTE_ENGINE=spark"):
            load_settings()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("EPSILON_DAU", "zero"),
            ("EPSILON_DAU", "-1"),
            ("TIMEZONE", "Mars/Olympus"),
            ("SERIES_START", "2026-13-01"),
            ("MAU_WINDOW_DAYS", "64"),
            ("RDP_ORDERS", "1,2"),
            ("RDP_ORDERS", "nan,2"),
            ("RDP_ORDERS", "inf"),
            ("TIMEZONE", "America"),
            ("SERIES_START", "1736035200"),
            ("DUCKDB_MEMORY_LIMIT", "lots"),
            ("EXPECTED_USERS", "1000000000000"),
            ("DELTA", "1e-40"),
            ("SKETCH_IMPL", "bitmap"),
            ("DELTA", "0"),
            ("ADMIN_EMAIL", "ops"),
            ("ADMIN_EMAIL", "ops@localhost"),
            ("ADMIN_EMAIL", "Ops <o@x.org>"),
            ("SERIES_END", "9999-12-31"),
            ("SERIES_START", "1969-12-31"),
        ],
    )
    def test_a_malformed_value_is_one_line_with_the_name(self, project: Path, name: str, value: str) -> None:
        """A value that cannot be used is refused naming the setting, in one line."""
        write_dotenv(project, f"{name}={value}")
        with pytest.raises(InputError) as caught:
            load_settings()
        assert name in caught.value.message
        assert "\n" not in caught.value.message

    @pytest.mark.parametrize("name", ["DATA_DIR", "JOURNAL_MIRROR_DIR"])
    def test_a_folder_that_is_not_text_is_refused(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """A path that is not UTF-8 is refused naming the setting, in one line that can be printed anywhere."""
        monkeypatch.setenv(name, os.fsdecode(b"caf\xe9"))
        with pytest.raises(InputError, match=name) as caught:
            load_settings()
        assert caught.value.message.isascii()
        assert "\n" not in caught.value.message

    def test_a_secret_is_never_shown(self, project: Path) -> None:
        """A malformed secret or address does not appear in the message, a good one prints as stars."""
        write_dotenv(project, "HASH_SALT_SECRET=hunter2", "DATABASE_URL=sqlite:////hunter2")
        assert "hunter2" not in repr(load_settings())
        assert "hunter2" not in str(describe_settings())

    @pytest.mark.parametrize("key", ["with space", "line\nbreak", "k\u00e9y"])
    def test_a_key_that_fits_no_header_is_refused(self, project: Path, key: str) -> None:
        """Only visible ASCII characters make a key; the message does not repeat it."""
        with pytest.raises(InputError, match="READ_API_KEY") as caught:
            load_settings(read_api_key=key)
        assert key not in caught.value.message

    @pytest.mark.parametrize("value", ["tree", "matrix"])
    def test_an_unaudited_mechanism_is_refused(self, project: Path, value: str) -> None:
        """Mechanisms of later versions are refused at start, never approximated."""
        with pytest.raises(ConfigurationError):
            load_settings(mechanism=value)

    @pytest.mark.parametrize(
        "overrides",
        [
            {"sketch_impl": "hll", "sketch_k": 5000},
            {"advanced_delta": 1e-6},
            {"series_start": "2026-02-01", "series_end": "2026-01-01"},
            {"service_api_key": "one", "read_api_key": "one"},
            {"metrics_api_key": "one", "ingest_api_key": "one", "read_api_key": "two"},
        ],
    )
    def test_settings_that_disagree_are_refused(self, project: Path, overrides: dict[str, object]) -> None:
        """Values that are fine alone and wrong together are refused."""
        with pytest.raises(ConfigurationError):
            load_settings(**overrides)


class TestSketches:
    @pytest.mark.parametrize("mechanism", ["gaussian", "laplace", "correlated", "joint", "tree", "matrix"])
    @pytest.mark.parametrize("sketch_impl", ["set", "kmv", "theta", "hll"])
    def test_every_pair_is_accepted_or_refused_as_the_table_says(
        self, project: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str, sketch_impl: str
    ) -> None:
        """joint counts exactly, tree and matrix are never released, everything else goes together."""
        monkeypatch.setattr("dpdau_assets.settings.combinations.THETA_PACKAGE", "json")
        chosen = {"mechanism": mechanism, "sketch_impl": sketch_impl}
        if mechanism in ("tree", "matrix") or (mechanism == "joint" and sketch_impl != "set"):
            with pytest.raises(ConfigurationError, match=f"MECHANISM={mechanism}") as refused:
                load_settings(**chosen)
            assert "\n" not in str(refused.value)
            assert refused.value.hint
        else:
            assert load_settings(**chosen).sketch_impl == sketch_impl
        assert (sketch_impl in SKETCHES_OF_MECHANISM[mechanism]) == (
            mechanism not in ("tree", "matrix") and (mechanism != "joint" or sketch_impl == "set")
        )

    def test_theta_without_its_package_is_refused_in_one_line(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message names the command that installs it."""
        monkeypatch.setattr("dpdau_assets.settings.combinations.THETA_PACKAGE", "no_such_package_of_sketches")
        with pytest.raises(ConfigurationError, match="not installed") as refused:
            load_settings(sketch_impl="theta")
        assert "pip install 'dpdau-assets[theta]'" in refused.value.hint
        assert "\n" not in str(refused.value)


class TestTelling:
    def test_every_setting_is_listed_with_its_source(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The list names every setting once and says where its value comes from."""
        write_dotenv(project, "EPSILON_DAU=0.1")
        monkeypatch.setenv("SKETCH_IMPL", "set")
        rows = {row["name"]: row for row in describe_settings()}
        assert set(rows) == {name.upper() for name in Settings.model_fields}
        assert [rows[name]["source"] for name in ("EPSILON_DAU", "SKETCH_IMPL", "DELTA")] == [
            ".env",
            "environment",
            "default",
        ]
        assert rows["KAFKA_TOPIC"]["used"] == "no"

    @pytest.mark.parametrize(
        ("overrides", "word"),
        [
            ({"sketch_k": 1024}, "SKETCH_K"),
            ({"sketch_k": 1024, "sketch_impl": "hll"}, "SKETCH_K"),
            pytest.param({"sketch_impl": "theta"}, "EXPECTED_USERS", marks=pytest.mark.requires_theta),
            ({"mechanism": "laplace"}, "laplace"),
            ({"epsilon_mau": 0.1}, "EPSILON_"),
            ({"expected_users": 1_000_000}, "DELTA"),
        ],
    )
    def test_what_is_probably_not_meant_is_noted(self, project: Path, overrides: dict[str, object], word: str) -> None:
        """Sound but odd settings give one line each; the defaults give none, nor does an epsilon that counts."""
        assert notices(load_settings()) == notices(load_settings(mechanism="gaussian", epsilon_mau=0.1)) == ()
        (line,) = notices(load_settings(**overrides))
        assert word in line
