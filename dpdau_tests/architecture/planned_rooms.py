"""Where each flat file will stand; empty once every file has moved."""

from __future__ import annotations

PLANNED: dict[str, str] = {
    "dpdau_assets.evaluation.enforcement": "dpdau_assets.evaluation.horizon.enforcement",
    "dpdau_assets.evaluation.horizon_bound": "dpdau_assets.evaluation.horizon.horizon_bound",
    "dpdau_assets.evaluation.long_horizon": "dpdau_assets.evaluation.horizon.long_horizon",
}
