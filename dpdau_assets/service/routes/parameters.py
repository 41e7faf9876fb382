"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from dpdau_assets.core.quantities import Metric


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


MetricName = Annotated[Metric, BeforeValidator(_lower)]
"""`dau`, `wau` or `mau`, in capitals too."""
