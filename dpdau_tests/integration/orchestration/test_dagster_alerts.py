"""The alert sensors: once while an alert lasts, again after a day, over when it ends, and again where it failed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dpdau_assets.operations.monitor.notifications import Notice
from dpdau_assets.operations.pipeline.erasure_replay import flush_deletes
from dpdau_assets.orchestration.automation import alerts
from dpdau_assets.orchestration.automation.run_requests import PLANNED_RUN_TAG
from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.orchestration.resources import LakeResource, resources
from dpdau_assets.settings.settings import Settings
from dpdau_tests.support.alert_servers import MailBox, Webhook, closed_port, running
from dpdau_tests.support.dagster_folder import NOW, Folder, activity, ago, make_folder, past

pytestmark = pytest.mark.untraced
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is asked directly, whatever the machine's environment says."""
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


class Watch:
    """Both sensors over a folder, ticking at times of the test's choice."""

    def __init__(self, root: Path, instance: dg.DagsterInstance, *, mail: int | None = None, hook: int | None = None):
        settings: dict[str, Any] = {"series_start": None, "admin_email": "ops@example.org"}
        if mail is not None:
            settings["smtp_url"] = f"smtp://ops:{SECRET}@127.0.0.1:{mail}"
        if hook is not None:
            settings["alert_webhook_url"] = f"http://127.0.0.1:{hook}/{SECRET}"
        self.folder: Folder = make_folder(root, instance, **settings)
        self.cursors: dict[str, str | None] = {}

    def at(self, hours: float, *, sensor: str = "alert_sensor", settings: Settings | None = None) -> str:
        """One tick that many hours from now; what it says of itself."""
        chosen = settings or self.folder.settings
        lake = LakeResource(chosen, clock=lambda: NOW + timedelta(hours=hours), synthetic=True)
        definition = build_definitions(chosen, lake=lake, now=NOW).resolve_sensor_def(sensor)
        repository = self.folder.definitions.get_repository_def()
        context = dg.build_sensor_context(
            instance=self.folder.instance,
            cursor=self.cursors.get(sensor),
            resources=resources(lake),
            repository_def=repository,
        )
        data = definition.evaluate_tick(context)
        self.cursors[sensor] = data.cursor
        return str(data.skip_message)

    def fail_a_run(self, **tags: str) -> str:
        """A run of `ingest_job` over a file that cannot be used; its id."""
        self.folder.lake.inbox.mkdir(parents=True, exist_ok=True)
        (self.folder.lake.inbox / "person-7.csv").write_text("no,such,columns\n1,2,3\n", encoding="utf-8")
        job = self.folder.definitions.resolve_job_def("ingest_job")
        config = {"ops": {"stage_inbox_files": {"config": {"names": ["person-7.csv"]}}}}
        done = job.execute_in_process(config, instance=self.folder.instance, raise_on_error=False, tags=tags)
        assert not done.success
        return done.run_id


class TestAlertSensor:
    def test_an_alert_is_sent_once_again_after_a_day_and_over_when_it_ends(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """Over many ticks: one new, one still, one over, each by e-mail and to the webhook; nobody is named."""
        box, hook = MailBox(), Webhook()
        with running(box) as mail_port, running(hook) as hook_port:
            watch = Watch(tmp_path, instance, mail=mail_port, hook=hook_port)
            watch.folder.ingest("events.csv", activity(past(3)))
            watch.folder.erase("user-1", "user-2", "user-3", through=ago(2))
            assert watch.at(1).startswith("0 alerts last")
            for hours in (25, 25.1, 30, 48.9):
                assert watch.at(hours) == "1 alerts last"
            assert len(hook.documents) == len(box.messages) == 1
            watch.at(49.1)
            watch.at(60)
            with watch.folder.lake.open() as workspace:
                flush_deletes(workspace)
            watch.at(61)
            watch.at(62)
        said = [(one["state"], one["key"]) for document in hook.documents for one in document["alerts"]]
        assert said == [(state, "erasure_overdue") for state in ("new", "still", "over")]
        subjects = [str(message["Subject"]) for message in box.messages]
        assert [line.split("an erasure")[0] for line in subjects] == ["dpdau: ", "dpdau: still: ", "dpdau: over: "]
        everything = str(hook.documents) + "".join(message.get_content() for message in box.messages)
        assert not any(word in everything for word in ("user-", str(ago(2)), "3 users", SECRET))

    def test_a_dead_server_is_logged_and_tried_again(
        self, tmp_path: Path, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Each tick fails on one way and says so in one line; the other way is not repeated; alive, it gets it all."""
        hook = Webhook()
        with closed_port() as port, running(hook) as hook_port:
            watch = Watch(tmp_path, instance, mail=port, hook=hook_port)
            watch.folder.erase("user-1", through=ago(2))
            for hours in (25, 25.1):
                assert "email: alerts not delivered (ConnectionRefusedError)" in watch.at(hours)
            logged = capfd.readouterr().err
            assert logged.count("email: alerts not delivered") == 2
            assert logged.count("an erasure request has been") == 1
            assert SECRET not in logged
            box = MailBox()
            with running(box) as mail_port:
                moved = Settings(
                    **{**watch.folder.settings.model_dump(), "smtp_url": f"smtp://ops:{SECRET}@127.0.0.1:{mail_port}"}
                )
                assert watch.at(25.2, settings=moved) == "1 alerts last"
            assert (len(box.messages), len(hook.documents)) == (1, 1)

    def test_without_addresses_it_is_logged_only(
        self, tmp_path: Path, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The tick's log has the line once, and a tick that finds nothing takes less than 3 s of processor time."""
        watch = Watch(tmp_path, instance)
        watch.folder.erase("user-1", through=ago(2))
        watch.at(25)
        watch.at(26)
        assert capfd.readouterr().err.count("an erasure request has been") == 1
        started = time.process_time()
        watch.at(27)
        assert time.process_time() - started < 3

    def test_a_folder_that_cannot_be_read_is_an_alert_and_ends_no_other(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """A damaged ledger is told without its path; whether the erasure is still overdue is not known then."""
        with running(hook := Webhook()) as hook_port:
            watch = Watch(tmp_path, instance, hook=hook_port)
            watch.folder.erase("user-1", through=ago(2))
            watch.at(25)
            ledger = watch.folder.settings.root / "ledgers" / "ledger.sqlite"
            content = ledger.read_bytes()
            ledger.write_bytes(b"not a database" * 500)
            watch.at(26)
            ledger.write_bytes(content)
            watch.at(27)
        said = [(one["state"], one["key"]) for document in hook.documents for one in document["alerts"]]
        assert said == [("new", "erasure_overdue"), ("new", "folder_unreadable"), ("over", "folder_unreadable")]
        assert str(tmp_path) not in str(hook.documents)


class TestRunFailures:
    def test_a_failed_run_is_told_by_job_and_id_only(self, tmp_path: Path, instance: dg.DagsterInstance) -> None:
        """Neither its configuration nor its error leaves; a run is told of once."""
        with running(hook := Webhook()) as hook_port:
            watch = Watch(tmp_path, instance, hook=hook_port)
            watch.at(0, sensor="run_failure_alert_sensor")
            run_id = watch.fail_a_run()
            for _ in range(2):
                watch.at(0, sensor="run_failure_alert_sensor")
            watch.at(0)
        (document,) = hook.documents
        assert document["alerts"][0]["text"] == f"run {run_id} of ingest_job failed"
        assert not any(word in str(document) for word in ("person-7", str(tmp_path), "columns"))

    def test_what_could_not_be_delivered_comes_with_the_next_tick(
        self, tmp_path: Path, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The failed run stays marked until the alert sensor has delivered it; a way that is down is tried once."""
        with running(hook := Webhook()) as hook_port:
            hook.status = 503
            watch = Watch(tmp_path, instance, hook=hook_port)
            watch.at(0, sensor="run_failure_alert_sensor")
            runs = {watch.fail_a_run(), watch.fail_a_run()}
            watch.at(0, sensor="run_failure_alert_sensor")
            assert capfd.readouterr().err.count("the server answered 503") == 1
            assert "the server answered 503" in watch.at(0)
            hook.status = 204
            watch.at(0)
            watch.at(0)
        (document,) = hook.documents
        assert {one["key"] for one in document["alerts"]} == {f"run_failed {run}" for run in runs}

    def test_a_tick_that_dies_loses_no_run(
        self, tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Killed between two ways, and then given the same run again: each way is told of it once."""

        def killed(_notices: Sequence[Notice]) -> None:
            raise KeyboardInterrupt

        with running(hook := Webhook()) as hook_port:
            watch = Watch(tmp_path, instance, hook=hook_port)
            watch.at(0, sensor="run_failure_alert_sensor")
            run_id = watch.fail_a_run(**{PLANNED_RUN_TAG: "erasures-1"})
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(alerts, "deliveries", lambda _settings: {"webhook": killed})
                watch.at(0, sensor="run_failure_alert_sensor")
            for sensor in ("run_failure_alert_sensor", "alert_sensor", "alert_sensor"):
                watch.at(0, sensor=sensor)
        (document,) = hook.documents
        assert [one["key"] for one in document["alerts"]] == [f"run_failed {run_id}"]

    def test_further_attempts_at_the_same_work_are_told_once_a_day(
        self, tmp_path: Path, instance: dg.DagsterInstance
    ) -> None:
        """An erasure that fails every hour is one message a day; another piece of work is told at once."""
        with running(hook := Webhook()) as hook_port:
            watch = Watch(tmp_path, instance, hook=hook_port)
            watch.at(0, sensor="run_failure_alert_sensor")
            for planned, hours in (("erasures-1", 0), ("erasures-1", 1), ("erasures-2", 2), ("erasures-1", 30)):
                watch.fail_a_run(**{PLANNED_RUN_TAG: planned})
                watch.at(hours, sensor="run_failure_alert_sensor")
        assert len(hook.documents) == 3
