"""Adds up how many rows of a source were accepted and refused.

Belongs here: counts and line numbers by reason, and the days that occur. Everything here stays on the trusted side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

from dpdau_assets.core.activity import REASONS, Reason
from dpdau_assets.engines.duckdb.day_bitmaps import days_of_blocks
from dpdau_assets.engines.duckdb.row_sql import BLANK, ERASING, REASON_OF
from dpdau_assets.engines.protocol import LINES_KEPT, RowCounts


class Tally:
    """Counts of one source, added up over the parts it is read in (sensitive; prints as nothing).

    Args:
        alignment: As in `day_bitmaps`.
    """

    def __init__(self, alignment: int) -> None:
        self._alignment = alignment
        self._rejected: Counter[Reason] = Counter()
        self._lines: dict[Reason, list[int]] = {}
        self._words: dict[int, int] = {}
        self._accepted = 0
        self._erasures = 0

    def add_groups(self, groups: Iterable[tuple[Any, ...]]) -> tuple[list[date], bool]:
        """Adds (code, rows, word) of one part; returns the days of its "+" rows, and whether it has refused rows.

        Rows that were not counted (None) are added by `accept_others`.
        """
        words: dict[int, int] = {}
        has_refused = False
        for code, rows, word in groups:
            if code in REASON_OF:
                has_refused = True
            elif code != BLANK:
                self._accepted += int(rows or 0)
                self._erasures += int(rows or 0) if code >= ERASING else 0
                if code < ERASING:
                    words[code] = int(word)
        for block, word in words.items():
            self._words[block] = self._words.get(block, 0) | word
        return days_of_blocks(words, alignment=self._alignment), has_refused

    def add_refused(self, groups: Iterable[tuple[Any, ...]]) -> None:
        """Adds (code, rows, first row numbers ascending) of the refused rows of one part."""
        for code, rows, numbers in groups:
            if code in REASON_OF:
                self._rejected[REASON_OF[code]] += int(rows)
                merged = sorted([*self._lines.get(REASON_OF[code], []), *numbers])
                self._lines[REASON_OF[code]] = merged[:LINES_KEPT]

    def accept_others(self, rows: int) -> None:
        """Counts as accepted those of `rows` that were not refused."""
        self._accepted = rows - sum(self._rejected.values())

    def counts(self) -> RowCounts:
        """The sums, reasons in the order of `core.activity.REASONS`."""
        rejected: dict[str, int] = {reason: self._rejected[reason] for reason in REASONS if self._rejected[reason]}
        return RowCounts(
            events=self._accepted + sum(rejected.values()),
            accepted=self._accepted,
            erasures=self._erasures,
            rejected=rejected,
            lines={reason: tuple(self._lines.get(reason, ())) for reason in REASONS if reason in rejected},
            days=tuple(days_of_blocks(self._words, alignment=self._alignment)),
        )
