"""Which charges pay for an offset, and so belong to a whole month and not to a day: conditions on rows of `charges`.

Belongs here: the conditions. Does not belong here: reading or writing charges (`budget`, `openings`).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, false, func, not_, or_

from dpdau_assets.storage.schema import charges

OPENING = "opening"
ASSUMED_OPENING = "is_opening"
"""Name in the outcome of an `assumed` charge that pays for a lost offset, and not for a lost value."""
IS_ASSUMED_OPENING: ColumnElement[bool] = and_(
    charges.c.kind == "assumed", func.coalesce(charges.c.outcome[ASSUMED_OPENING].as_boolean(), false())
)
IS_OPENING: ColumnElement[bool] = or_(charges.c.kind == OPENING, IS_ASSUMED_OPENING)
IS_OF_A_DAY: ColumnElement[bool] = not_(IS_OPENING)
