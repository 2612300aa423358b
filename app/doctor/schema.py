"""Is the schema the one that this version needs?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, warning, wrong
from app.storage import schema
from app.storage.database import Database

CHECK = "schema"


async def look_at_schema(database: Database, *, upgrades_itself: bool) -> Finding:
    """
    Args:
        upgrades_itself: whether a gateway that starts may do so (GATEWAY_AUTO_MIGRATE).
    """
    why, found, needed = await schema.unfit(database), await schema.current(database), schema.newest()
    if why is None:
        later = (
            f", of a later release, which only adds; this version knows {needed}" if schema.is_later(found) else ", as needed"
        )
        return ok(CHECK, f"at {found}{later}")
    if schema.is_later(found):
        return wrong(CHECK, why, "see whether GATEWAY_DATABASE_URL names the right database")
    at = f"at {found or 'none'}, and this version needs {needed}"
    if upgrades_itself:
        return warning(CHECK, at, "nothing, if `gateway serve` starts next: it upgrades the schema; else `gateway db upgrade`")
    return wrong(CHECK, at, "gateway db upgrade")
