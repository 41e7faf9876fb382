"""Who may ask what: every key, loopback without keys, and requests that only seem to come from this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dpdau_tests.support.release_folders import add_activity, charges_of, everybody
from dpdau_tests.support.served import FIRST, KEYS, Served, release, served_project, serving, workspace_of

OTHER = FIRST + timedelta(days=1)


@pytest.fixture(scope="module")
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one released day and four keys."""
    folder = tmp_path_factory.mktemp("keyed")
    workspace = workspace_of(served_project(folder, **KEYS))
    add_activity(workspace, everybody(20, first=FIRST, days=3))
    release(workspace, "dau", FIRST)
    workspace.close()
    return folder


@pytest.fixture(scope="module")
def keyed(project_folder: Path) -> Iterator[Served]:
    """The folder, served."""
    with serving(served_project(project_folder)) as http:
        yield http


class TestKeys:
    @pytest.mark.parametrize("path", [f"/dau/{FIRST}", f"/budget/dau?day={FIRST}", "/releases"])
    def test_values_and_budgets_are_for_two_keys(self, keyed: Served, path: str) -> None:
        """SERVICE_API_KEY and READ_API_KEY open them; other keys, none, a wrong one and two at once do not."""
        assert [keyed.get(path, key=name).status for name in KEYS] == [200, 200, 401, 401]
        for key in ("", "wrong", KEYS["READ_API_KEY"] + "x", KEYS["READ_API_KEY"][:-1], "\xff"):
            refused = keyed.get(path, key=key)
            assert (refused.status, refused.document["error"]) == (401, "unauthorized")
            assert refused.headers["www-authenticate"].startswith("ApiKey")
        key = KEYS["READ_API_KEY"].encode()
        request = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: %s\r\nX-API-Key: %s\r\n\r\n"
        assert keyed.raw(request % (path.encode(), key, key)).startswith(b"HTTP/1.1 401 ")

    def test_metrics_are_for_two_other_keys(self, keyed: Served) -> None:
        """From elsewhere, SERVICE_API_KEY and METRICS_API_KEY open them; loopback needs none."""
        elsewhere = {"X_Forwarded_For": "203.0.113.7"}
        statuses = [keyed.get("/metrics", key=name, **elsewhere).status for name in KEYS]
        assert statuses == [200, 401, 200, 401]
        assert keyed.get("/metrics", **elsewhere).status == 401
        assert keyed.get("/metrics").status == 200

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
    def test_what_is_open_to_all(self, keyed: Served, path: str) -> None:
        """Health and the description of the API need no key."""
        assert keyed.get(path).status == 200

    def test_a_key_is_judged_before_the_question(self, keyed: Served) -> None:
        """Without a key nobody learns whether a parameter is right."""
        assert keyed.get("/dau/nonsense").status == 401

    def test_a_reader_never_makes_a_release(self, keyed: Served, project_folder: Path) -> None:
        """READ_API_KEY gets 404 `not_released` until SERVICE_API_KEY, or the schedule, has made the release."""
        workspace = workspace_of(served_project(project_folder))
        charges = charges_of(workspace)
        for _ in range(3):
            refused = keyed.get(f"/dau/{OTHER}", key="READ_API_KEY")
            assert (refused.status, refused.document["error"]) == (404, "not_released")
        assert charges_of(workspace) == charges
        made = keyed.get(f"/dau/{OTHER}", key="SERVICE_API_KEY")
        assert made.status == 200
        read = keyed.get(f"/dau/{OTHER}", key="READ_API_KEY")
        assert read.body == made.body
        workspace.close()

    def test_a_release_made_elsewhere_is_seen(self, keyed: Served, project_folder: Path) -> None:
        """What another process released is there at the next question, with the budget of now."""
        day = FIRST + timedelta(days=2)
        workspace = workspace_of(served_project(project_folder))
        before = keyed.get(f"/dau/{FIRST}", key="READ_API_KEY").document["budget"]["release_count"]
        body = release(workspace, "dau", day)[0]
        read = keyed.get(f"/dau/{day}", key="READ_API_KEY").document
        assert (read["estimate"], read["budget"]["release_count"]) == (body["estimate"], before + 1)
        assert keyed.get(f"/dau/{FIRST}", key="READ_API_KEY").document["budget"]["release_count"] == before + 1
        workspace.close()


@pytest.fixture(scope="module")
def open_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A folder without keys and without releases, served."""
    project = served_project(tmp_path_factory.mktemp("open"))
    workspace_of(project).close()
    with serving(project) as http:
        yield http


class TestLoopback:
    @pytest.mark.parametrize(
        "headers",
        [
            {"X_Forwarded_For": "203.0.113.7"},
            {"Forwarded": "for=203.0.113.7"},
            {"Via": "1.1 proxy"},
            {"Host": "counts.example.org"},
            {"Host": "evil.example.org:8000"},
        ],
    )
    def test_what_was_passed_on_is_not_of_this_machine(self, open_service: Served, headers: dict[str, str]) -> None:
        """A proxy's request, or one that reached loopback through a foreign name, needs a key; there is none."""
        assert open_service.get("/budget/dau").status == 200
        assert open_service.get("/budget/dau", **headers).status == 401
        assert open_service.get("/metrics", **headers).status == 401

    def test_a_page_of_another_site_cannot_spend(self, open_service: Served) -> None:
        """A browser that is made to ask gets no release made."""
        for headers in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example.org"}):
            refused = open_service.get(f"/dau/{FIRST}", **headers)
            assert (refused.status, refused.document["error"]) == (404, "not_released")

    def test_release_on_query_can_be_switched_off(self, tmp_path: Path) -> None:
        """With RELEASE_ON_QUERY=false nobody makes a release by asking."""
        project = served_project(tmp_path / "off", RELEASE_ON_QUERY="false")
        workspace = workspace_of(project)
        with serving(project) as http:
            assert http.get(f"/dau/{FIRST}").document["error"] == "not_released"
        assert charges_of(workspace) == []
