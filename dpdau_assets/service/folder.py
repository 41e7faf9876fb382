"""The data folder behind the service: values kept ready, and the one queue in which releases are made.

Belongs here: what several routes need of an open folder, and how long anything is kept. A stored value is read and
never written; a release is made by the operation that the command line calls, in a workspace opened for it, so that
a salt rotation meanwhile is noticed.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from typing import TYPE_CHECKING

from dpdau_assets import __version__
from dpdau_assets.core.quantities import DayRange, Metric
from dpdau_assets.errors import DpdauError, Refusal, StorageError
from dpdau_assets.operations.budget.kept_snapshots import KeptSnapshots
from dpdau_assets.operations.exports.stored_values import stored_value
from dpdau_assets.operations.monitor.readiness import REASONS, unready_parts
from dpdau_assets.operations.session.calendar import require_closed, require_in_series
from dpdau_assets.operations.session.open_workspace import open_workspace
from dpdau_assets.service.problems import NotReleasedError, where_it_broke
from dpdau_assets.settings.settings import Settings

if TYPE_CHECKING:
    from dpdau_assets.operations.session.workspace import Workspace

MOST_WAITING = 32
"""Questions that may wait for releases of their own; further ones get 503."""
MOST_BODIES = 4096
WATCH_SECONDS = 1.0
"""How often a new version of the ledger is looked for, whose budgets are then computed before anybody asks."""
LOOK_SECONDS = 1.0
"""How long an answer about readiness holds: /readyz is open to all and must not be a way to keep the disk busy."""
NOT_WARM = "the budgets of released values are being computed"

log = logging.getLogger("dpdau.service")
Answer = bytes | Refusal
"""A release body as JSON, or why there is none."""


class Folder:
    """An open data folder, shared by the threads of one worker.

    Args:
        settings: All settings; the folder exists.
    """

    def __init__(self, settings: Settings) -> None:
        self.workspace: Workspace = open_workspace(settings, create=False)
        self.budgets = KeptSnapshots(self.workspace)
        self._bodies: dict[tuple[int, Metric, date], Answer] = {}
        self._releasing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="release")
        self._places = threading.BoundedSemaphore(MOST_WAITING)
        self._is_stopped = threading.Event()
        self._warm_version: int | None = None
        self._looking = threading.Lock()
        self._looked_at = -math.inf
        self._reasons: dict[str, str] = {}
        self._warming = threading.Thread(target=self._keep_warm, name="warm", daemon=True)
        self._warming.start()

    def close(self) -> None:
        """Finishes the release under way and closes the folder."""
        self._is_stopped.set()
        self._releasing.shutdown(wait=True)
        self._warming.join()
        self.workspace.close()

    def reasons_not_ready(self) -> dict[str, str]:
        """Parts that do not work, each with its reason; empty when all do. Public; looked at once a second at most."""
        with self._looking:
            if time.monotonic() > self._looked_at + LOOK_SECONDS:
                self._reasons = {part: REASONS[part] for part in unready_parts(self.workspace)}
                self._looked_at = time.monotonic()
            return self._reasons if self._warm_version is not None else {**self._reasons, "budgets": NOT_WARM}

    def look_up(self, metric: Metric, day: date) -> Answer | None:
        """The stored value of a metric and day, or the refusal known for it; None when there is neither.

        Args:
            metric: The metric.
            day: Last day of the window.
        """
        version = self.budgets.version()
        known = self._bodies.get((version, metric, day))
        if known is not None:
            return known
        result = stored_value(self.workspace, metric, day)
        if result is None:
            return None
        document = result.public_fields()
        budget = self.budgets.of_month(metric, day)
        body = {**document, "budget_remaining": budget["budget_remaining"], "budget": budget, "version": __version__}
        return self._keep(version, metric, day, json.dumps(body, ensure_ascii=False, allow_nan=False).encode())

    def require_releasable(self, day: date, *, may_release: bool) -> None:
        """Raises unless the calendar allows a release of `day` and whoever asks may have it made; reads no data.

        Args:
            day: The day, which is not released.
            may_release: Whether the caller may.

        Raises:
            OutsideSeriesError, NotClosedError: The calendar says no.
            NotReleasedError: The caller may not.
        """
        settings = self.workspace.settings
        require_in_series(settings, DayRange.single(day))
        require_closed(settings, day, self.workspace.now())
        if not may_release:
            raise NotReleasedError(
                f"{day} is not released", hint="it is once its operator has released it; /releases lists what is"
            )

    def release(self, metric: Metric, day: date) -> Future[Answer]:
        """Asks for a release; releases are made one after another, in the order of asking.

        Raises:
            StorageError: Too many wait already.
        """
        if not self._places.acquire(blocking=False):
            raise StorageError("too many questions wait for a release", hint="ask again in a minute")
        try:
            waiting = self._releasing.submit(self._release, metric, day)
        except BaseException:
            self._places.release()
            raise
        waiting.add_done_callback(lambda _: self._places.release())
        return waiting

    def _release(self, metric: Metric, day: date) -> Answer:
        found = self.look_up(metric, day)  # whoever asked before may have had it made
        if found is not None:
            return found
        from dpdau_assets.operations.release.publish_release import publish_releases

        version = self.budgets.version()
        workspace = open_workspace(self.workspace.settings, clock=self.workspace.clock, create=False)
        try:
            published = publish_releases(workspace, (metric,), DayRange.single(day))
        finally:
            workspace.close()
        if published.refused:
            return self._keep(version, metric, day, published.refused[0])
        body = self.look_up(metric, day)
        if body is None:
            raise StorageError("a value that was released cannot be read", hint="ask again")
        return body

    def _keep(self, version: int, metric: Metric, day: date, answer: Answer) -> Answer:
        """Keeps an answer for as long as the ledger is at the version that was seen before it was made."""
        kept = self._bodies
        if len(kept) >= MOST_BODIES or any(seen != version for seen, _, _ in list(kept)[:1]):
            kept = self._bodies = {}
        if self.budgets.version() == version:
            kept[version, metric, day] = answer
        return answer

    def _keep_warm(self) -> None:
        """Computes the budgets at once, and again whenever the ledger has changed and then stood still for a moment."""
        seen: int | None = None
        while not self._is_stopped.is_set():
            try:
                version = self.budgets.version()
                if version != self._warm_version and (seen == version or self._warm_version is None):
                    self.budgets.warm(is_stopped=self._is_stopped.is_set)
                    self._warm_version = version
                seen = version
            except DpdauError as error:
                log.error("%s: %s (at %s)", error.code, error.message, where_it_broke(error))
            self._is_stopped.wait(WATCH_SECONDS)
