"""Nothing outside holds an exact count, a user id or a pseudonym: bodies, exports, page, logs, errors, refusals.

The offset that a month shares is nowhere in clear, its key in one file only.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dpdau_assets.core.hashing import user_key
from dpdau_assets.core.quantities import METRICS, DayRange
from dpdau_assets.core.release.counts import Counts
from dpdau_assets.errors import BudgetExhaustedError, DpdauError
from dpdau_assets.operations.budget.snapshot import report_budget
from dpdau_assets.operations.exports.export_metrics import export_metrics
from dpdau_assets.operations.exports.report import write_report
from dpdau_assets.operations.recover.backup import backup
from dpdau_assets.operations.release.publish_release import publish_releases
from dpdau_assets.operations.session.workspace import Workspace
from dpdau_assets.operations.verify.verify import verify
from dpdau_assets.storage.ledger import accounts, releases
from dpdau_tests.support.planted_counts import FixedNoise, open_planted
from dpdau_tests.support.release_folders import NEW_YEAR, add_activity, open_folder

EXACT = 86_413
"""True count of every day; far from everything else on the page, and no number that formatting makes by itself."""
DAYS = DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=19))
PERSON = "maria.ordóñez@example.org"
EVERYWHERE = dict.fromkeys(METRICS, EXACT)
SHARED_NOISE = 987_654_321_987
"""An offset whose digits and bytes occur nowhere by chance; no stored number is near enough to equal it."""


def exact_traces(text: str) -> list[str]:
    """Where the exact number, in users or in half users, stands as a number of its own, plain or with separators."""
    found = [rf"(?<![\d.]){number // 1000}[,. _]?{number % 1000:03d}(?!\d)" for number in (EXACT, 2 * EXACT)]
    return re.findall("|".join(found), text)


def shared_noise_traces(content: bytes) -> list[str]:
    """In which forms the offset stands in some bytes: digits, or an integer of any width in either order."""
    forms = {
        "decimal": str(SHARED_NOISE).encode(),
        "with commas": f"{SHARED_NOISE:,}".encode(),
        "hex": f"{SHARED_NOISE:x}".encode(),
    }
    forms |= {order: SHARED_NOISE.to_bytes(5, order) for order in ("big", "little")}  # type: ignore[call-overload]
    return [name for name, form in forms.items() if form in content]


def key_traces(content: bytes, key: bytes) -> list[str]:
    """In which forms a key stands in some bytes."""
    forms = {
        "raw": key,
        "hex": key.hex().encode(),
        "base64": base64.b64encode(key).rstrip(b"="),
        "url-safe base64": base64.urlsafe_b64encode(key).rstrip(b"="),
    }
    return [name for name, form in forms.items() if form in content]


def open_known(path: Path, **named: Any) -> Workspace:
    """A folder in which every release counts the planted number and adds a noise of 7 to it, shared noise likewise."""
    return open_planted(path, users=EVERYWHERE, noise=FixedNoise(7, shared=7), **named)


class TestNothingExactLeaves:
    def test_documents_hold_noisy_numbers_only(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The exact number is in no body, export, page or log line, in whatever way it is written."""
        caplog.set_level(logging.DEBUG)
        workspace = open_known(tmp_path)
        published = publish_releases(workspace, METRICS, DAYS)
        texts = {
            "bodies": json.dumps(published.bodies),
            "published": repr(published),
            "csv": export_metrics(workspace)[0].read_text(),
            "parquet": str(pq.read_table(export_metrics(workspace)[1]).to_pylist()),
            "page": write_report(workspace).read_text(encoding="utf-8"),
        }
        for name, text in texts.items():
            assert re.search(r"86,?420", text), name
            assert not exact_traces(text), name
        assert not exact_traces(caplog.text)
        assert exact_traces(f"{EXACT:,}")
        assert exact_traces(f'"{EXACT}"') and exact_traces(str(2 * EXACT))

    def test_no_stored_row_keeps_the_count(self, tmp_path: Path) -> None:
        """The ledger's rows of accounts, charges and releases hold the noisy number only."""
        workspace = open_known(tmp_path)
        publish_releases(workspace, METRICS, DAYS)
        with workspace.ledger.read() as connection:
            rows = [
                str(tuple(row))
                for table in ("accounts", "charges", "releases")
                for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
            ]
        assert len(rows) == 3 + (3 + 60) + 60  # accounts, their openings and 60 charges, releases
        assert "86420" in " ".join(rows)
        assert not exact_traces(" ".join(rows))

    @pytest.mark.parametrize("mechanism", ["correlated", "joint"])
    def test_the_shared_noise_is_sealed_and_its_key_in_one_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, mechanism: str
    ) -> None:
        """Ledger, journal, backup, exports, report, logs and answers hold neither h nor, but for its file, the key."""
        caplog.set_level(logging.DEBUG)
        noise = FixedNoise(7, shared=SHARED_NOISE)
        workspace = open_planted(tmp_path, users=EVERYWHERE, noise=noise, mechanism=mechanism)
        published = publish_releases(workspace, METRICS, DayRange(NEW_YEAR, NEW_YEAR + timedelta(days=1)))
        backup(workspace)
        exported = export_metrics(workspace)
        write_report(workspace)
        told = [json.dumps(published.bodies), repr(published), caplog.text, json.dumps(verify(workspace).to_json())]
        told += [json.dumps(report_budget(workspace, metric, "2025-01").to_json()) for metric in METRICS]
        told.append(str(pq.read_table(exported[1]).to_pylist()))
        with workspace.ledger.read() as connection:
            tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
            told += [
                str(tuple(row)) for name in tables for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"')
            ]
        files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        keys = {path: content for path, content in files.items() if path.suffix == ".key"}
        assert len(keys) == (1 if mechanism == "joint" else 3)
        assert {path.relative_to(tmp_path).parts[0] for path in files} >= {"ledgers", "journal", "backups", "published"}
        places = {**files, **{f"answer {number}": text.encode() for number, text in enumerate(told)}}
        for place, content in places.items():
            assert not shared_noise_traces(content), place
            found = {path for path, key in keys.items() if key_traces(content, key)}
            assert found == {place} & set(keys), place
        for form in (
            str(SHARED_NOISE).encode(),
            SHARED_NOISE.to_bytes(16, "big", signed=True),
            SHARED_NOISE.to_bytes(8, "little"),
        ):
            assert shared_noise_traces(b"\x00" + form)  # the search sees what it looks for
        (key, *_) = keys.values()
        assert key_traces(b"x" + key, key) and key_traces(base64.b64encode(key), key)

    def test_ids_and_pseudonyms_stay_inside(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Neither the id nor its pseudonym of any epoch is in what a reader gets."""
        caplog.set_level(logging.DEBUG)
        workspace = open_folder(tmp_path)
        add_activity(workspace, {day: [PERSON] for day in DAYS})
        published = publish_releases(workspace, METRICS, DAYS)
        files = [*export_metrics(workspace), write_report(workspace)]
        text = json.dumps(published.bodies) + repr(published) + caplog.text
        content = text.encode() + b"".join(path.read_bytes() for path in files)
        assert PERSON.encode() not in content
        calendar = workspace.salts.calendar
        for epoch in range(calendar.epoch_of(NEW_YEAR) - 1, calendar.epoch_of(DAYS.last) + 1):
            key = user_key(workspace.salts.epoch_key(epoch), PERSON.encode())
            forms = (str(key), str(key - 2**64), f"{key:x}")
            assert not any(form.encode() in content for form in forms)
            assert key.to_bytes(8, "big") not in content
            assert key.to_bytes(8, "little") not in content

    def test_counts_print_as_nothing(self) -> None:
        """What holds exact counts has no readable form."""
        counts = Counts("set", {("dau", NEW_YEAR): EXACT})
        assert not exact_traces(repr(counts)) and not exact_traces(str(counts))

    def test_refusals_depend_on_the_ledger_alone(self, tmp_path: Path) -> None:
        """A refusal and its message are the same for any data."""
        told = []
        for name, users in (("none", 0), ("many", EXACT)):
            workspace = open_planted(tmp_path / name, users=dict.fromkeys(METRICS, users), mechanism="laplace")
            refused = publish_releases(workspace, ("mau",), DAYS).refused
            error = BudgetExhaustedError(refused)
            told.append(([asdict(refusal) for refusal in refused], error.message, error.hint))
        assert told[0] == told[1]

    def test_a_failing_draw_says_nothing_of_the_data(self, tmp_path: Path) -> None:
        """A ledger that breaks in the middle raises our own line, without values, and nothing is charged."""
        workspace = open_known(tmp_path)
        with workspace.ledger.write() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER refuse BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        with pytest.raises(DpdauError) as caught:
            publish_releases(workspace, ("dau",), DayRange.single(NEW_YEAR))
        assert not exact_traces(f"{caught.value.message} {caught.value.hint}")
        with workspace.ledger.read() as connection:
            assert accounts.version(connection) == 0
            assert releases.find_release(connection, "dau", date(2025, 1, 1)) is None
