"""Does SECRET_KEY open what was encrypted with it?"""

from __future__ import annotations

from app.doctor.finding import Finding, ok, warning, wrong
from app.exits import USAGE
from app.storage.database import Database
from app.storage.tenants import TenantStore
from app.vault import Vault, make_key

CHECK = "secret key"


async def look_at_secret_key(database: Database, vault: Vault | None) -> Finding:
    """
    Args:
        vault: None where no key was ever made.
    """
    lost = await TenantStore(database, vault or Vault([make_key()])).lost_secrets()
    if lost:
        todo = "restore the key that encrypted them; without it see docs/operations.md, Keys, tenants and secrets"
        return wrong(CHECK, f"{lost} delivery secrets are stored that it does not open; no gateway starts", todo, USAGE)
    if vault is None:
        return warning(CHECK, "there is none yet", "nothing: the first `gateway serve` makes it; then back it up")
    return ok(CHECK, "opens every delivery secret that is stored")
