"""The process behind `dpdau serve`: how it starts, refuses to start, shares its counts, and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from dpdau_tests.support.release_folders import add_activity, everybody
from dpdau_tests.support.served import FIRST, Reply, release, served_project, serving, workspace_of


class TestStart:
    def test_no_key_no_way_beyond_loopback(self, tmp_path: Path) -> None:
        """Without a key every address but loopback is refused in one line, before anything listens."""
        project = served_project(tmp_path / "p")
        workspace_of(project).close()
        for host in ("0.0.0.0", "::", "192.0.2.1", "counts.example.org", ""):
            answer = project("serve", "--host", host)
            assert (answer.code, len(answer.err.splitlines())) == (2, 1), host
            assert "SERVICE_API_KEY" in answer.err

    def test_a_folder_that_does_not_exist_is_not_served(self, tmp_path: Path) -> None:
        """The command says what to do first."""
        answer = served_project(tmp_path / "p")("serve")
        assert (answer.code, len(answer.err.splitlines())) == (1, 1)
        assert "dpdau init" in answer.err

    def test_a_taken_port_is_told_in_one_line(self, tmp_path: Path) -> None:
        """Nothing is said to be served then."""
        project = served_project(tmp_path / "p")
        workspace_of(project).close()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            answer = project("serve", "--port", str(taken.getsockname()[1]))
        assert (answer.code, answer.out, len(answer.err.splitlines())) == (1, "", 1)
        assert "address already in use" in answer.err


class TestEnd:
    def test_what_was_taken_is_answered(self, tmp_path: Path) -> None:
        """SIGTERM while a first value is made: the answer comes whole, then the process ends with 0 and leaves no
        folder of counts."""
        project = served_project(tmp_path / "p")
        workspace = workspace_of(project)
        add_activity(workspace, everybody(3000, first=FIRST, days=30))
        workspace.close()
        answers: list[Reply] = []
        with serving(project) as http:
            counts = [part for part in _command_line(http.process) if "dpdau-counts-" in part]
            assert Path(counts[0]).is_dir()
            day = FIRST.replace(day=28)
            asking = threading.Thread(target=lambda: answers.append(http.get(f"/mau?end={day}")))
            asking.start()
            time.sleep(0.05)
            http.process.send_signal(signal.SIGTERM)
            asking.join(60)
            assert http.process.wait(30) == 0
        assert [answer.status for answer in answers] == [200]
        assert not Path(counts[0]).exists()


class TestWorkers:
    def test_two_workers_count_together(self, tmp_path: Path) -> None:
        """Forty questions, answered by whichever worker, are forty in every scrape; all give one body."""
        project = served_project(tmp_path / "p")
        workspace = workspace_of(project)
        add_activity(workspace, everybody(5, first=FIRST))
        release(workspace, "dau", FIRST)
        workspace.close()
        wanted = 'app_requests_total{handler="/dau/{day}",method="GET",status="200"} 40.0'
        with serving(project, "--workers", "2") as http:
            bodies = {http.get(f"/dau/{FIRST}").body for _ in range(40)}
            scrapes = [http.get("/metrics").body.decode() for _ in range(8)]
        assert len(bodies) == 1
        assert [wanted in scrape.splitlines() for scrape in scrapes] == [True] * 8


class TestReady:
    def test_a_part_that_fails_is_named(self, tmp_path: Path) -> None:
        """Without its salts the service is alive and not ready; with them back it is ready again."""
        project = served_project(tmp_path / "p")
        workspace = workspace_of(project)
        add_activity(workspace, everybody(5, first=FIRST))
        secrets = workspace.lake.secrets_path.parent
        workspace.close()
        with serving(project) as http:
            secrets.rename(secrets.with_name("elsewhere"))
            http.wait_until(503)
            refused = http.get("/readyz")
            assert (refused.status, list(refused.document["reasons"])) == (503, ["salts"])
            assert str(tmp_path) not in refused.body.decode()
            assert http.get("/healthz").status == 200
            secrets.with_name("elsewhere").rename(secrets)
            http.wait_until()

    def test_a_fault_of_the_machine_has_a_fixed_body(self, tmp_path: Path) -> None:
        """A release that cannot be made for want of salts gives 503 without a path, and counts as a 5xx."""
        project = served_project(tmp_path / "p")
        workspace = workspace_of(project)
        add_activity(workspace, everybody(5, first=FIRST))
        secrets = workspace.lake.secrets_path.parent
        workspace.close()
        with serving(project) as http:
            secrets.rename(secrets.with_name("elsewhere"))
            refused = http.get(f"/dau/{FIRST}")
            assert (refused.status, refused.headers["retry-after"]) == (503, "30")
            assert str(tmp_path) not in refused.body.decode() and "salts" not in refused.document["detail"]
            counted = 'app_requests_5xx_total{handler="/dau/{day}",method="GET",status="503"} 1.0'
            assert counted in http.get("/metrics").body.decode().splitlines()


class TestMetrics:
    def test_a_release_moves_the_numbers(self, tmp_path: Path) -> None:
        """The first value of a metric changes its lines of the next scrape: days released, budget left, last day."""
        project = served_project(tmp_path / "p")
        workspace_of(project).close()
        names = ("dpdau_releases", "dpdau_budget_remaining", "dpdau_last_released_day_seconds")

        def lines(text: str) -> list[list[str]]:
            rows = text.splitlines()
            return [[row for row in rows if row.startswith(name + '{metric="dau"}')] for name in names]

        with serving(project) as http:
            before = lines(http.get("/metrics").body.decode())
            last_closed_day = http.get("/wau").document["day"]
            assert http.get(f"/dau/{last_closed_day}").status == 200
            after = lines(http.get("/metrics").body.decode())
        assert [old == new for old, new in zip(before, after, strict=True)] == [False] * 3


def _command_line(process: subprocess.Popen[str]) -> list[str]:
    """The arguments that a process runs with now."""
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode().split("\0")
