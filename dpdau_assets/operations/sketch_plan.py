"""Which sketches a data folder makes, by its settings; what a plan means belongs to core/sketches."""

from __future__ import annotations

from dpdau_assets.core.sketches.plan import SketchPlan
from dpdau_assets.settings import Settings


def sketch_plan(settings: Settings) -> SketchPlan:
    """How SKETCH_IMPL, SKETCH_K and EXPECTED_USERS ask for sketches to be made."""
    return SketchPlan.of(settings.sketch_impl, k=settings.sketch_k, expected_users=settings.expected_users)
