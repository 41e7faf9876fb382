"""The OpenAPI document: valid, an example for every status, and kept under the questions that schemathesis makes up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dpdau_tests.support.release_folders import add_activity, everybody
from dpdau_tests.support.served import FIRST, Served, release, served_project, serving, workspace_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
PATHS = ["/dau/{day}", "/wau", "/mau", "/releases", "/budget/{metric}", "/healthz", "/readyz", "/metrics"]
WITHOUT_PARAMETERS = ("/healthz", "/readyz", "/metrics")
EXAMPLES = 30
"""For each of five paths with parameters and two ways to make up a question: 300 questions."""
MADE_UP = [(path, mode) for path in PATHS for mode in GenerationMode if path not in WITHOUT_PARAMETERS]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A folder with some released days, on loopback without keys."""
    project = served_project(tmp_path_factory.mktemp("described"))
    workspace = workspace_of(project)
    add_activity(workspace, everybody(9, first=FIRST))
    release(workspace, "dau", FIRST)
    workspace.close()
    with serving(project) as served:
        yield served


@pytest.fixture(scope="module")
def document(http: Served) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = http.get("/openapi.json").document
    return found


class TestDocument:
    def test_it_is_valid(self, document: dict[str, Any]) -> None:
        """It follows the rules of OpenAPI 3.1, and every reference leads to a schema."""
        schemathesis.openapi.from_dict(document).validate()
        assert sorted(document["paths"]) == sorted(PATHS)

    def test_every_status_has_a_schema_and_an_example_of_it(self, document: dict[str, Any]) -> None:
        """Each example fits its schema."""
        seen = 0
        for path, methods in document["paths"].items():
            for status, answer in methods["get"]["responses"].items():
                assert answer["content"], (path, status)
                for media_type, content in answer["content"].items():
                    schema = {**content["schema"], "components": document["components"]}
                    assert schema.keys() != {"components"}, (path, status, media_type)
                    Draft202012Validator(schema).validate(content["example"])
                    seen += 1
        assert seen > 30

    def test_the_page_shows_every_path_and_asks_no_other_host(self, http: Served) -> None:
        """/docs is one page of its own."""
        page = http.get("/docs").body.decode()
        assert [path for path in PATHS if f"GET {path}</code>" not in page] == []
        assert "<script" not in page and "http://" not in page and "https://" not in page

    def test_keys_are_described(self, document: dict[str, Any]) -> None:
        """The header is a security scheme, and the health checks need none."""
        assert document["components"]["securitySchemes"]["key"]["name"] == "X-API-Key"
        open_paths = [path for path in PATHS if "security" not in document["paths"][path]["get"]]
        assert open_paths == ["/healthz", "/readyz"]


class TestQuestions:
    @pytest.mark.untraced
    @pytest.mark.parametrize(
        ("path", "mode"), [*MADE_UP, *((path, GenerationMode.POSITIVE) for path in WITHOUT_PARAMETERS)]
    )
    def test_no_question_breaks_it(
        self, http: Served, document: dict[str, Any], path: str, mode: GenerationMode
    ) -> None:
        """No 5xx, no status, type or body beyond the document, whether the question is right or wrong."""
        operation = schemathesis.openapi.from_dict(document)[path]["GET"]
        asked = 0

        @given(case=operation.as_strategy(mode))
        @settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=f"http://127.0.0.1:{http.port}", checks=CHECKS)

        ask()
        assert asked >= (1 if path in WITHOUT_PARAMETERS else EXAMPLES)
