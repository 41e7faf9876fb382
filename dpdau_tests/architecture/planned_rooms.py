"""Where each flat file will stand; empty once every file has moved."""

from __future__ import annotations

PLANNED: dict[str, str] = {
    "dpdau_assets.evaluation.accuracy": "dpdau_assets.evaluation.accuracy.measures",
    "dpdau_assets.evaluation.differences": "dpdau_assets.evaluation.accuracy.differences",
    "dpdau_assets.evaluation.enforcement": "dpdau_assets.evaluation.horizon.enforcement",
    "dpdau_assets.evaluation.evaluate": "dpdau_assets.evaluation.accuracy.run",
    "dpdau_assets.evaluation.experiments": "dpdau_assets.evaluation.accuracy.experiments",
    "dpdau_assets.evaluation.grid": "dpdau_assets.evaluation.accuracy.grid",
    "dpdau_assets.evaluation.grounds": "dpdau_assets.evaluation.accuracy.prepared_folders",
    "dpdau_assets.evaluation.horizon_bound": "dpdau_assets.evaluation.horizon.horizon_bound",
    "dpdau_assets.evaluation.horizons": "dpdau_assets.evaluation.accuracy.horizon_rows",
    "dpdau_assets.evaluation.long_horizon": "dpdau_assets.evaluation.horizon.long_horizon",
    "dpdau_assets.evaluation.plots": "dpdau_assets.evaluation.accuracy.plots",
    "dpdau_assets.evaluation.results": "dpdau_assets.evaluation.accuracy.results",
    "dpdau_assets.evaluation.trials": "dpdau_assets.evaluation.accuracy.trials",
}
