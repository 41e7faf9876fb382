"""What `workspace.yaml` names: the definitions of the data folder that the settings name."""

from __future__ import annotations

from dpdau_assets.orchestration.build import build_definitions
from dpdau_assets.settings.settings import load_settings

defs = build_definitions(load_settings())
