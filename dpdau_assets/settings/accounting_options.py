"""The public parameters that every accountant takes, as the settings hand them out."""

from __future__ import annotations

from typing import TypedDict


class AccountingOptions(TypedDict):
    """Public parameters that every bound of a loss takes besides its delta."""

    advanced_delta: float
    rdp_orders: tuple[float, ...]
