"""Questions to a served folder: values, lists, budgets, and every way to be refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dpdau_assets.core.release.release import BODY_FIELDS
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.service.schemas import Budget, Exhausted, ListedValue, Problem, Value
from dpdau_tests.support.release_folders import add_activity, charges_of, everybody
from dpdau_tests.support.served import FIRST, TODAY, Served, release, served_project, serving, workspace_of

USERS = 8117
"""How many are active on every day: a number that noise of a few users hardly ever meets, and no other fact has."""
SECOND = FIRST + timedelta(days=1)
EXHAUSTED_FROM = FIRST + timedelta(days=10)


@dataclass(frozen=True)
class Service:
    """A served folder, with the folder beside it."""

    http: Served
    workspace: Workspace
    first: dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One released day of each metric; Laplace noise, of which about ten DAU fit a month."""
    project = served_project(tmp_path_factory.mktemp("served"), MECHANISM="laplace")
    workspace = workspace_of(project)
    add_activity(workspace, everybody(USERS, first=FIRST, days=12))
    first = release(workspace, "dau", FIRST)[0]
    release(workspace, "mau", FIRST)
    with serving(project) as http:
        yield Service(http, workspace, first)
    workspace.close()


class TestValues:
    def test_a_stored_value_is_the_released_one(self, service: Service) -> None:
        """Every published field is as it was released, however often it is asked for, and nothing is charged."""
        charges = charges_of(service.workspace)
        replies = [service.http.get(f"/dau/{FIRST}") for _ in range(3)]
        for reply in replies:
            assert reply.status == 200
            Value.model_validate(reply.document)
            assert {name: reply.document[name] for name in BODY_FIELDS} == {
                name: service.first[name] for name in BODY_FIELDS
            }
        assert charges_of(service.workspace) == charges
        assert replies[0].headers["cache-control"] == "no-store"

    def test_two_first_questions_get_one_value(self, service: Service) -> None:
        """Four at once on loopback without keys: one draw, one charge, one body."""
        day = SECOND
        before = len(charges_of(service.workspace))
        with ThreadPoolExecutor(4) as pool:
            replies = list(pool.map(lambda _: service.http.get(f"/dau/{day}"), range(4)))
        assert [reply.status for reply in replies] == [200] * 4
        assert len({reply.document["estimate"] for reply in replies}) == 1
        made = charges_of(service.workspace)[before:]
        assert [(metric, charged, kind) for metric, charged, kind in made] == [("dau", day, "release")]

    def test_the_window_is_the_one_that_is_released(self, service: Service) -> None:
        """`window` may name MAU_WINDOW_DAYS and nothing else."""
        assert service.http.get(f"/mau?end={FIRST}&window=30").document["window_days"] == 30
        refused = service.http.get(f"/mau?end={FIRST}&window=7")
        assert (refused.status, refused.document["field"]) == (422, "window")

    def test_no_body_holds_an_exact_count(self, service: Service) -> None:
        """The planted number of users stands nowhere: not in values, budgets, lists, metrics or refusals."""
        paths = [f"/dau/{FIRST}", f"/mau?end={FIRST}", "/releases", "/releases?format=csv", "/budget/dau", "/metrics"]
        for path in [*paths, f"/dau/{TODAY}", "/readyz", "/docs", "/openapi.json"]:
            text = service.http.get(path).body.decode().replace(f"{service.first['estimate']:g}", "")
            assert f": {USERS}," not in text and f",{USERS}," not in text and f" {USERS}\n" not in text, path


class TestRefusals:
    def test_calendar(self, service: Service) -> None:
        """Today is not closed, the day before the series lies outside of it: 409 with the calendar's reason."""
        for path, code in (
            (f"/dau/{TODAY}", "not_closed"),
            (f"/wau?end={FIRST - timedelta(days=1)}", "outside_series"),
        ):
            reply = service.http.get(path)
            assert (reply.status, reply.document["error"]) == (409, code)
            assert reply.headers["content-type"] == "application/problem+json"
            assert Problem.model_validate(reply.document).hint

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("/dau/2025-1-1", "day"),
            ("/dau/1735689600", "day"),
            ("/dau/9999-12-31", "day"),
            ("/dau/2025-02-30", "day"),
            ("/wau?end=tomorrow", "end"),
            ("/mau?window=thirty", "window"),
            ("/budget/users", "metric"),
            ("/releases?metric=users", "metric"),
            ("/releases?format=xml", "format"),
            (f"/releases?start={SECOND}&end={FIRST}", "end"),
        ],
    )
    def test_a_wrong_field_is_named(self, service: Service, path: str, field: str) -> None:
        """422 names the field and does not repeat what was sent."""
        reply = service.http.get(path)
        assert (reply.status, reply.document["error"], reply.document["field"]) == (422, "bad_input", field)
        Problem.model_validate(reply.document)

    def test_input_is_not_repeated(self, service: Service) -> None:
        """An id that strays into a path or a parameter comes back in no body and no header."""
        for path in ("/dau/alice%40example.org", "/releases?metric=alice%40example.org", "/alice%40example.org"):
            reply = service.http.get(path)
            assert reply.status in (404, 422)
            assert "alice" not in reply.body.decode() + str(reply.headers)

    def test_an_exhausted_budget(self, service: Service) -> None:
        """429 with exactly the members of the contract, without Retry-After, while a stored value is still given."""
        bodies = [service.http.get(f"/dau/{FIRST + timedelta(days=offset)}") for offset in range(13)]
        refused = bodies[-1]
        assert refused.status == 429
        assert "retry-after" not in refused.headers
        Exhausted.model_validate(refused.document)
        assert list(refused.document) == [
            "error",
            "metric",
            "period",
            "epsilon_spent",
            "epsilon_cap",
            "epsilon_remaining",
            "budget_remaining",
            "next_reset",
            "next_funded_day",
            "budget",
        ]
        assert (refused.document["epsilon_cap"], refused.document["next_reset"]) == (3.0, None)
        assert refused.document["budget"]["budget_remaining"] == refused.document["budget_remaining"] == 0
        assert refused.document["budget"]["releases_remaining"] == 0
        assert service.http.get(f"/dau/{FIRST}").status == 200

    def test_unknown_paths_and_methods(self, service: Service) -> None:
        """404 and 405 are problem documents too; 405 names the methods."""
        assert service.http.get("/nothing").document["error"] == "not_found"
        refused = service.http.get("/wau", method="POST")
        assert (refused.status, refused.headers["allow"]) == (405, "GET")

    @pytest.mark.parametrize(
        "path",
        ["/dau/../metrics", "/dau/%2e%2e/%2e%2e/etc/passwd", "//dau", f"/dau/{FIRST}/", "/dau/%00", "/..;/metrics"],
    )
    def test_tricks_with_paths_lead_nowhere(self, service: Service, path: str) -> None:
        """Nothing is redirected, and nothing but a path of the list is answered."""
        reply = service.http.get(path)
        assert reply.status in (404, 422)
        assert "location" not in reply.headers

    def test_headers_cannot_be_injected(self, service: Service) -> None:
        """A line break in a parameter stays data: no header of the answer comes from it."""
        for path in ("/wau?end=2025-01-01%0d%0aSet-Cookie:%20a=b", "/releases?format=csv%0d%0aX-Evil:%201"):
            reply = service.http.get(path)
            assert reply.status == 422
            assert "set-cookie" not in reply.headers and "x-evil" not in reply.headers


class TestLists:
    def test_json_and_csv_hold_the_same(self, service: Service) -> None:
        """The same values in the same order, by the header Accept or the parameter `format`."""
        listed = service.http.get(f"/releases?metric=DAU&end={FIRST}").document
        assert [(each["metric"], each["day"]) for each in listed] == [("dau", FIRST.isoformat())]
        ListedValue.model_validate(listed[0])
        asked = service.http.get(f"/releases?metric=dau&end={FIRST}", Accept="text/csv, application/json;q=0.5")
        assert asked.headers["content-type"].startswith("text/csv")
        assert asked.body == service.http.get(f"/releases?metric=dau&end={FIRST}&format=csv").body
        row = next(iter(csv.DictReader(io.StringIO(asked.body.decode()))))
        assert (row["day"], float(row["estimate"])) == (listed[0]["day"], listed[0]["estimate"])

    def test_a_list_makes_nothing(self, service: Service) -> None:
        """Days that are not released are left out."""
        charges = charges_of(service.workspace)
        assert service.http.get(f"/releases?start={TODAY - timedelta(days=40)}").document == []
        assert charges_of(service.workspace) == charges


class TestBudget:
    def test_it_is_the_document_of_the_command_line(self, service: Service) -> None:
        """In either case of the metric, and with the earlier names beside it."""
        reply = service.http.get(f"/budget/MAU?day={SECOND}")
        Budget.model_validate(reply.document)
        stated = report_budget(service.workspace, "mau", SECOND).to_json()
        assert stated.items() <= reply.document.items()
        assert reply.document["rdp_orders"] == [2, 4, 8, 16, 32]
        assert service.http.get("/budget/mau").document["period"] == f"{TODAY:%Y-%m}"
