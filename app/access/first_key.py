"""The first admin key: of the settings, or made at the first start."""

from __future__ import annotations

from app.access.api_key import hash_key, make_key
from app.access.scope import Scope
from app.storage.audit import START
from app.storage.keys import KeyStore

ADMIN_TENANT = "admin"  #: the tenant of the first key


async def ensure_admin_key(keys: KeyStore, api_key: str) -> bool:
    """Makes this key an admin key, unless it exists. Returns whether it is a good one: a key that was revoked or has expired
    stays so, and one that was made with other scopes keeps them.

    Safe for any number of replicas that start together.
    """
    digest = hash_key(api_key)
    await keys.insert_if_absent(
        key_id=f"bootstrap-{digest.hex()[:8]}",
        tenant=ADMIN_TENANT,
        name="bootstrap",
        secret_hash=digest,
        scopes=(Scope.ADMIN,),
        by=START,
    )
    [found] = await keys.find_open([digest])
    return found is not None and Scope.ADMIN in found.scopes


async def first_admin_key(keys: KeyStore) -> str | None:
    """A new admin key when there is no key at all, to be shown once; otherwise None."""
    if await keys.any_exists():
        return None
    api_key, _ = await make_key(
        keys, tenant=ADMIN_TENANT, name="first", scopes=[Scope.ADMIN], expires_at=None, by=START
    )  # fmt: skip
    return api_key
